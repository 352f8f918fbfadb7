"""Are flipped labels found? Phantom knees, read by a reader who errs inside the blocks {0, 1} and {2, 3, 4}.

A small network is cross-validated on the noisy labels; its out-of-fold predictions say how doubtful each
label is, by `oahier.noise.label_doubt` and by the two nominal scores of cleanlab. The areas under the ROC
curve of finding the labels that differ from the true grade are compared on the same knees, with an interval
that resamples knees.

    python examples/label_doubt.py --folder runs/label-doubt

Takes some minutes; run it again to go on after an interruption.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import oahier as oh
from oahier.files import write_atomically
from oahier.noise import ADJUDICATED_BLOCKS, label_doubt, nominal_doubt
from oahier.statistics.predictions import read_predictions
from oahier.study import read_plan, run_study
from oahier.study.executors import InProcess


def write_folds(folder: Path, folds: int) -> pd.DataFrame:
    """A manifest a fold, in which the knees of that fold are for testing."""
    table = pd.read_csv(folder / "phantoms" / "manifest.csv", dtype=str)
    fold = np.random.default_rng(0).permutation(len(table)) % folds
    for held in range(folds):
        split = np.where(fold == held, "test", np.where(fold == (held + 1) % folds, "val", "train"))
        write_atomically(
            folder / "phantoms" / f"fold-{held}.csv", table.assign(split=split).to_csv(index=False)
        )
    return table


def study(options: argparse.Namespace) -> str:
    """The study file: one cell a fold."""
    return f"""
name: label-doubt
base:
  trainer: {{max_epochs: {options.epochs}, accelerator: cpu}}
  model:
    encoder: {{class_path: oahier.ResNet3D, init_args: {{depth: 10, width: 8, norm: batch}}}}
    heads: {{kl: {{class_path: oahier.SoftmaxHead}}}}
    optimizer: {{class_path: torch.optim.AdamW, init_args: {{lr: 0.002, weight_decay: 0.01}}}}
    lr_scheduler:
      class_path: torch.optim.lr_scheduler.CosineAnnealingLR
      init_args: {{T_max: {options.epochs}}}
  data:
    manifest: phantoms/fold-{{fold}}.csv
    targets: [kl]
    shape: {list(options.shape)}
    spacing: {[round(112 / options.shape[0], 6), *(round(128 / size, 6) for size in options.shape[1:])]}
    batch_size: 8
    cache: phantoms/cache
grid:
  fold: {{{", ".join(f"{fold}: {{}}" for fold in range(options.folds))}}}
monitor: null
saliency: []
knees: 0
"""


def from_network(folder: Path) -> pd.DataFrame:
    """Out-of-fold probabilities and severity of every knee, by a small network."""
    rows = []
    for cell, outcome in run_study(read_plan(folder / "study.yaml"), folder / "study", InProcess()):
        print(cell.name, outcome, cell.error, flush=True)
        found = read_predictions(cell.folder / "predictions.csv")
        head = found.heads["kl"]
        rows.append(pd.DataFrame(head.probabilities, index=found.knee).assign(severity=head.severity))
    return pd.concat(rows)


def from_features(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The same by logistic regression of tissue volumes, mean intensities and their spread."""
    rows = []
    for mri, cartilage in zip(table["mri"], table["cartilage"], strict=True):
        files = (nib.load(folder / "phantoms" / name) for name in (mri, cartilage))
        volume, labels = (np.asarray(file.dataobj) for file in files)
        volume = (volume - volume.mean()) / volume.std()
        parts = [volume[labels == tissue] for tissue in range(1, 6)]
        found = [(part.size, part.mean(), part.std()) if part.size else (0, 0.0, 0.0) for part in parts]
        rows.append(np.ravel(found))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    p = cross_val_predict(
        model, np.array(rows), table["kl"].astype(int), cv=GroupKFold(5), groups=table["subject"],
        method="predict_proba",
    )  # fmt: skip
    return pd.DataFrame(p, index=table.index).assign(severity=p @ np.arange(5))


def auc(wrong: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve of finding wrong labels; ties count half."""
    ranks = rankdata(scores)
    positive = int(wrong.sum())
    area = (ranks[wrong].sum() - positive * (positive + 1) / 2) / (positive * (len(wrong) - positive))
    return float(area)


def main(options: argparse.Namespace) -> pd.DataFrame:
    """Phantoms, folds, training, and the comparison."""
    folder = options.folder
    oh.make_phantoms(
        folder / "phantoms", knees=options.knees, shape=tuple(options.shape), reader_noise="block"
    )
    table = write_folds(folder, options.folds).set_index("knee")
    write_atomically(folder / "study.yaml", study(options))
    predicted = from_features(folder, table) if options.features else from_network(folder)
    predicted = predicted.reindex(table.index)
    labels, truth = (table[name].to_numpy(np.int64) for name in ("kl", "true_kl"))
    p, subjects = predicted[list(range(5))].to_numpy(), table["subject"].to_numpy()
    doubt = label_doubt(
        predicted["severity"].to_numpy(), labels, 5, blocks=ADJUDICATED_BLOCKS, subjects=subjects
    ).doubt
    scores = {
        "label_doubt": doubt,
        "cleanlab self_confidence": nominal_doubt(p, labels),
        "cleanlab normalized_margin": nominal_doubt(p, labels, margin=True),
    }
    rng, wrong = np.random.default_rng(0), truth != labels
    draws = [rng.integers(0, len(labels), len(labels)) for _ in range(2000)]
    answer = []
    for name, values in scores.items():
        gains = [auc(wrong[draw], doubt[draw]) - auc(wrong[draw], values[draw]) for draw in draws]
        low, high = np.percentile(gains, (2.5, 97.5))
        area = auc(wrong, values)
        answer.append((name, area, auc(wrong, doubt) - area, low, high))
    made = pd.DataFrame(answer, columns=["score", "auc", "gain", "ci_low", "ci_high"])
    write_atomically(folder / "answer.csv", made.to_csv(index=False, float_format="%.4f"))
    print(f"{int(wrong.sum())} of {len(wrong)} labels are wrong\n{made.round(3).to_string(index=False)}")
    return made


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line; defaults are those of the published figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/label-doubt"))
    parser.add_argument("--knees", type=int, default=400)
    parser.add_argument("--shape", type=int, nargs=3, default=(24, 32, 32))
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--features", action="store_true", help="logistic regression, no network")
    parser.add_argument("--folds", type=int, default=5)
    return parser.parse_args(words)


if __name__ == "__main__":
    main(arguments())
