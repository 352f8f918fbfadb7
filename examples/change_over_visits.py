"""How well is change between two visits seen, beside the best that its labels allow?

Phantom subjects are scanned three times, two years apart, and progress at rates of their own; readers who err
inside {0, 1} and {2, 3, 4} grade every scan. A classifier learns the grades. A change model starts from its
encoder and learns better, same or worse from pairs of visits. On held-out subjects, areas under the ROC curve
of "the later grade is higher" are compared on the same pairs, subjects being the units of every interval:

- of the change model, and of the classifier's expected grade at the later visit less that at the earlier one;
- of the true change of severity;
- of the best possible score, the probability of a higher reading given both true severities and the readers.

    python examples/change_over_visits.py --folder runs/change

Takes some minutes; run it again and what was made is kept.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

import oahier as oh
from oahier.data import KneeMRIDataModule, PairedVisits
from oahier.files import write_atomically
from oahier.model import ChangeModel
from oahier.phantom import reader_matrix
from oahier.statistics import clustered_auc, read_predictions


def trainer(folder: Path, epochs: int) -> L.Trainer:
    """A quiet trainer on the CPU that writes predictions of the test split."""
    return L.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, default_root_dir=folder, log_every_n_steps=1,
        enable_checkpointing=False, enable_model_summary=False, limit_val_batches=0,
        callbacks=[oh.PredictionWriter()],
    )  # fmt: skip


def rates(learning_rate: float, epochs: int) -> dict[str, Any]:
    """AdamW with a cosine schedule."""
    return {
        "optimizer": functools.partial(torch.optim.AdamW, lr=learning_rate, weight_decay=0.01),
        "lr_scheduler": functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=epochs),
    }


def fitted(module: Any, data: Any, folder: Path, epochs: int) -> Path:
    """Train and test; the checkpoint, which is kept."""
    path = folder / "last.ckpt"
    if not path.is_file() or not (folder / "predictions.csv").is_file():
        run = trainer(folder, epochs)
        run.fit(module, datamodule=data)
        run.save_checkpoint(path)
        run.test(module, datamodule=data, verbose=False)
    return path


def scores(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """A row a test pair: its label, and every score."""
    pairs = read_predictions(folder / "change" / "predictions.csv")
    grades = read_predictions(folder / "grades" / "predictions.csv")
    expected = pd.Series(grades.heads["kl"].severity, index=grades.knee)
    first, later = zip(*(name.split("-to-") for name in pairs.knee.tolist()), strict=True)
    one, other = table.loc[list(first)], table.loc[list(later)]
    matrix = reader_matrix("block")
    higher = np.triu(np.ones((5, 5)), 1)
    best = [matrix[a] @ higher @ matrix[b] for a, b in zip(one["true_kl"], other["true_kl"], strict=True)]
    return pd.DataFrame(
        {
            "subject": pairs.subject,
            "worse": (other["kl"].to_numpy() > one["kl"].to_numpy()).astype(int),
            "months": other["month"].to_numpy() - one["month"].to_numpy(),
            "change model": pairs.heads["change"].severity,
            "grades": expected[list(later)].to_numpy() - expected[list(first)].to_numpy(),
            "true change": other["severity"].to_numpy() - one["severity"].to_numpy(),
            "best possible": best,
        }
    )


def answer(found: pd.DataFrame) -> pd.DataFrame:
    """Areas with intervals, and what separates each from the change model."""
    names = ["change model", "grades", "true change", "best possible"]
    areas = clustered_auc(found["worse"], found[names].T.to_numpy(np.float64), found["subject"])
    lines = []
    for position, name in enumerate(names):
        low, high = areas.interval(position)
        pair = areas.compare(0, position)
        follows = spearmanr(found[name], found["true change"]).statistic
        lines.append(
            (name, areas.auc[position], low, high, pair.difference, pair.ci_low, pair.ci_high, follows)
        )
    columns = [
        "score",
        "auc",
        "ci_low",
        "ci_high",
        "less_the_change_model",
        "low",
        "high",
        "spearman_true_change",
    ]
    return pd.DataFrame(lines, columns=columns)


def main(options: argparse.Namespace) -> pd.DataFrame:
    """Phantoms, both trainings, and the comparison."""
    folder, shape = options.folder, tuple(options.shape)
    manifest = oh.make_phantoms(
        folder / "phantoms", knees=options.knees, knees_per_subject=2, visits=3, interval=24, rate=0.06,
        shape=shape, test=0.35, val=0.0,
    )  # fmt: skip
    scans = KneeMRIDataModule(manifest, shape, batch_size=16, cache=folder / "cache", seed=options.seed)
    L.seed_everything(options.seed, verbose=False)
    encoder = oh.ResNet3D(depth=10, width=options.width, norm="batch")
    classifier = oh.HierarchicalClassifier(
        encoder, {"kl": oh.CumulativeHead()}, **rates(2e-3, options.epochs)
    )
    trained = fitted(classifier, scans, folder / "grades", options.epochs)
    change = ChangeModel.from_classifier(trained, **rates(5e-4, options.change_epochs))
    fitted(change, PairedVisits(scans), folder / "change", options.change_epochs)
    found = scores(folder, manifest.table.set_index("knee"))
    made = answer(found)
    write_atomically(folder / "pairs.csv", found.to_csv(index=False, float_format="%.6f"))
    write_atomically(folder / "answer.csv", made.to_csv(index=False, float_format="%.4f"))
    print(
        f"{len(found)} pairs of {found['subject'].nunique()} test subjects, "
        f"the grade rose in {found['worse'].sum()}\n{made.round(3).to_string(index=False)}"
    )
    return made


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line; defaults are those of the published figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/change"))
    parser.add_argument("--knees", type=int, default=400)
    parser.add_argument("--shape", type=int, nargs=3, default=(24, 32, 32))
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--change-epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


if __name__ == "__main__":
    main(arguments())
