"""Does dual supervision recover the truth better than single when readers disagree?

Phantom knees have a true severity that no reader sees. Readers of growing unreliability grade the same
knees; they always agree on OA or not and err on the exact grade (within 0-1 and within 2-4). Single-OA,
Single-KL and Dual models learn from these grades, several seeds each, every seed with a reading of its own.
They are then asked for what the readers do not know: the true severity and the true grade of the test knees.
All train for the same number of epochs with a learning rate that falls to zero; nothing is selected.

    python examples/noise_question.py --folder runs/noise --workers 2

Takes about half an hour on two cores; run it again to go on after an interruption.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import oahier as oh
from oahier.files import write_atomically
from oahier.metrics import weighted_qwk, weighted_spearman
from oahier.phantom.readers import BLOCK_NOISE, read_grade, reader_matrix
from oahier.statistics import adjust_comparisons, paired_statistic
from oahier.study import Cell, Plan, read_plan, read_study, run_study
from oahier.study.executors import InProcess, ProcessPool
from oahier.study.tables import write_tables

AGREEMENTS = (1.0, 0.7, 0.4)
MEASURES = ("severity", "grade", "axis")
COLUMNS = (
    "difference", "ci_low", "ci_high", "p_value", "p_adjusted", "p_not_better", "verdict", "detectable",
    "models_ci_low", "models_ci_high", "seeds", "n",
)  # fmt: skip


def reader(agreement: float) -> np.ndarray:
    """Reader with this chance of the exact grade; errors are spread as those of ``BLOCK_NOISE``."""
    errors = np.array(BLOCK_NOISE) * (1 - np.eye(5))
    return agreement * np.eye(5) + (1 - agreement) * errors / errors.sum(axis=1, keepdims=True)


def write_readings(folder: Path, agreements: tuple[float, ...], seeds: int) -> None:
    """One manifest for each reader and seed, with the same splits and true grades in the test split."""
    table = pd.read_csv(folder / "manifest.csv", dtype=str)
    for agreement in agreements:
        matrix = reader_matrix(reader(agreement).tolist())
        for seed in range(seeds):
            generator = np.random.default_rng([seed, round(100 * agreement)])
            grades = [read_grade(int(true), matrix, generator) for true in table["true_kl"]]
            read = table.assign(kl=grades, oa=[int(grade >= 2) for grade in grades])
            test = read["split"] == "test"
            read.loc[test, "kl"] = read.loc[test, "true_kl"].astype(int)
            write_atomically(folder / f"readers-{agreement:g}-{seed}.csv", read.to_csv(index=False))


def plan(folder: Path, arguments: argparse.Namespace) -> Plan:
    """The study: reader x supervision x seed."""
    content = f"""
name: noise-question
base:
  trainer: {{max_epochs: {arguments.epochs}, accelerator: cpu}}
  model:
    encoder:
      class_path: oahier.ResNet3D
      init_args: {{depth: 10, width: {arguments.width}, norm: batch}}
    optimizer: {{class_path: torch.optim.AdamW, init_args: {{lr: 0.001, weight_decay: 0.01}}}}
    lr_scheduler: {{class_path: oahier.CosineSchedule}}
  data:
    manifest: phantoms/readers-{{agreement}}-{{seed}}.csv
    shape: {list(arguments.shape)}
    spacing: {[round(112 / arguments.shape[0], 6), *(round(128 / n, 6) for n in arguments.shape[1:])]}
    batch_size: 8
    cache: phantoms/cache
grid:
  agreement: {{{", ".join(f"{agreement:g}: {{}}" for agreement in AGREEMENTS[: arguments.levels])}}}
  supervision: [single-oa, single-kl, dual]
  seed: {list(range(arguments.seeds))}
monitor: null
saliency: []
knees: 0
"""
    write_atomically(folder / "study.yaml", content)
    return read_plan(folder / "study.yaml")


class Recovered:
    """How well the test predictions of a cell follow the truth."""

    def __init__(self, cell: Cell, truth: pd.DataFrame) -> None:
        predictions = pd.read_csv(cell.folder / "predictions.csv").set_index("knee")
        axis = pd.read_csv(cell.folder / "axis.csv").set_index("knee")
        known = truth.loc[predictions.index]
        self.subjects = predictions["subject"].astype(str).tolist()
        self.severity = known["severity"].rank(method="dense").to_numpy(dtype=np.int64)
        self.grade = known["true_kl"].to_numpy(dtype=np.int64)
        self.statistics: dict[str, Any] = {
            "severity": partial(
                weighted_spearman, scores=predictions["severity_kl"].to_numpy(), labels=self.severity
            ),
            "grade": partial(weighted_qwk, predicted=predictions["pred_kl"].to_numpy(), labels=self.grade),
            "axis": partial(_absolute_spearman, axis["pca"].to_numpy(), self.severity),
        }


def _absolute_spearman(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.abs(weighted_spearman(weights, scores, labels))


def answer(folder: Path) -> pd.DataFrame:
    """Paired differences Dual minus Single for each reader, over subjects and seeds (paired)."""
    study = read_study(folder / "study")
    truth = pd.read_csv(folder / "phantoms" / "manifest.csv").set_index("knee")
    recovered: dict[tuple[str, str], list[Recovered]] = {}
    for cell in study.cells:
        if cell.state == "finished":
            key = cell.factors["agreement"], cell.factors["supervision"]
            recovered.setdefault(key, []).append(Recovered(cell, truth))
    found, about = [], []
    for agreement in study.factors["agreement"]:
        dual = recovered[agreement, "dual"]
        for single in ("single-oa", "single-kl"):
            for measure in MEASURES:
                sides = (recovered[agreement, single], dual)
                a, b = ([one.statistics[measure] for one in side] for side in sides)
                found.append(paired_statistic(a, b, dual[0].subjects, metric=measure, paired=True))
                about.append({"agreement": float(agreement), "single": single})
    rows = [
        {
            **levels,
            "measure": row.metric,
            "single_value": row.a,
            "dual_value": row.b,
            **{name: getattr(row, name) for name in COLUMNS},
        }
        for levels, row in zip(about, adjust_comparisons(found, "bh"), strict=True)
    ]
    return pd.DataFrame(rows)


def picture(table: pd.DataFrame, path: Path) -> None:
    """Differences with intervals against the reader's agreement, a panel for each measure."""
    from matplotlib.figure import Figure

    titles = {
        "severity": "Spearman with true severity\n(expected grade)",
        "grade": "QWK with true grade",
        "axis": "|Spearman| with true severity\n(first latent component)",
    }
    names = {"single-oa": "Single-OA", "single-kl": "Single-KL"}
    figure = Figure(figsize=(11, 3.6), layout="constrained", dpi=120)
    panels = figure.subplots(1, len(MEASURES), sharex=True)
    for panel, measure in zip(panels, MEASURES, strict=True):
        for shift, (single, colour) in enumerate((("single-oa", "#0072B2"), ("single-kl", "#D55E00"))):
            rows = table[(table["measure"] == measure) & (table["single"] == single)]
            low, high = rows["difference"] - rows["ci_low"], rows["ci_high"] - rows["difference"]
            panel.errorbar(
                100 * rows["agreement"] + 1.6 * (shift - 0.5), rows["difference"], [low, high],
                fmt="os"[shift], color=colour, capsize=3, label=f"Dual minus {names[single]}",
            )  # fmt: skip
        panel.axhline(0, color="0.5", linewidth=0.8)
        panel.set_title(titles[measure], fontsize=10)
        panel.set_xlabel("readers' exact agreement (%)")
        panel.invert_xaxis()
    panels[0].set_ylabel("difference (above 0: Dual better)")
    panels[0].legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main(arguments: argparse.Namespace) -> pd.DataFrame:
    """Phantoms, readings, training of every cell, and the answer."""
    folder = arguments.folder
    oh.make_phantoms(
        folder / "phantoms",
        knees=arguments.knees,
        shape=tuple(arguments.shape),
        reader_noise="none",
        val=0.1,
        test=0.3,
    )
    write_readings(folder / "phantoms", AGREEMENTS[: arguments.levels], arguments.seeds)
    executor = ProcessPool(arguments.workers) if arguments.workers > 1 else InProcess()
    for cell, outcome in run_study(plan(folder, arguments), folder / "study", executor):
        print(cell.name, outcome, cell.error, flush=True)
    write_tables(read_study(folder / "study"))
    table = answer(folder)
    write_atomically(folder / "answer.csv", table.to_csv(index=False, float_format="%.6g"))
    picture(table, folder / "answer.png")
    print(table.round(3).to_string(index=False))
    return table


def options(words: list[str] | None = None) -> argparse.Namespace:
    """The command line; defaults are those of the published result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/noise"))
    parser.add_argument("--knees", type=int, default=300)
    parser.add_argument("--shape", type=int, nargs=3, default=(32, 48, 48))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--levels", type=int, default=3, help="readers, from the most reliable on")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args(words)


if __name__ == "__main__":
    main(options())
