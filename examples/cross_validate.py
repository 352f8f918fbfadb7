"""Cross-validation by subject: one run a fold, then pooled held-out results with 95 % intervals.

    python examples/cross_validate.py knees.csv --folder runs/folds --data.shape [80,128,128]

Every knee is predicted once, by a model that never saw its subject. Of a manifest with splits only the
training knees are taken: ``oahier data doubt knees.csv runs/folds`` then names labels to read again, and
those of validation and test stay out of it. ``--covariate`` compares with a number that the manifest already
has, such as a measured joint gap. Further options go to ``oahier fit``. A finished fold is not run
again, one that was stopped goes on; folds of other options or knees are refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

import oahier
from oahier.cli import main
from oahier.data import read_manifest
from oahier.files import write_json
from oahier.metrics import Rows, registered, weighted_auc
from oahier.metrics.ranking import SEVERE_FROM_GRADE
from oahier.specs.errors import nearest
from oahier.statistics import summarise_rows
from oahier.statistics.intervals import percentile_interval, subject_weights

CONFIG = Path(oahier.__file__).parent / "configs" / "own_data.yaml"
GRADES = [f"prob_kl_{grade}" for grade in range(5)]


def parser(description: str | None, folder: str, *, compares: bool = False) -> argparse.ArgumentParser:
    """Options of a cross-validation; one that compares needs a covariate and may train several times."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("manifest", type=Path)
    made.add_argument("--covariate", required=compares, help="column of the manifest to compare with")
    made.add_argument("--folder", type=Path, default=Path(folder))
    made.add_argument("--folds", type=int, default=5)
    if compares:
        made.add_argument("--seeds", type=int, default=1, help="trainings of every fold, averaged")
    return made


def read_covariate(manifest: Path, name: str) -> pd.Series:
    """A column of numbers by knee; NaN where there is none, which is told.

    Raises:
        SystemExit: there is no such column, or no number in it.
    """
    table = read_manifest(manifest).table.set_index("knee")
    if name not in table:
        raise SystemExit(f"--covariate {name}: {manifest} has no such column.{nearest(name, table.columns)}")
    found: pd.Series = pd.to_numeric(table[name], errors="coerce")
    missing = int(found.isna().sum())
    if missing == len(found):
        raise SystemExit(f"--covariate {name}: {manifest} has no number in that column")
    if missing:
        print(f"{missing} of {len(found)} knees have no {name}: trained on and tested, but not compared")
    return found


def measured(held_out: pd.DataFrame, covariate: pd.Series) -> pd.DataFrame:
    """The knees with a grade that have a covariate."""
    kept = held_out["label_kl"].notna() & covariate.reindex(held_out["knee"]).notna().to_numpy()
    return held_out[kept].reset_index(drop=True)


def without_splits(manifest: Path, folder: Path) -> Path:
    """The manifest; of one with splits the training knees, written to ``training.csv`` without splits."""
    read = read_manifest(manifest)
    if not read.has_splits:
        return manifest
    training = read.subset("train")
    print(f"{manifest} has splits: its {len(training)} training knees are cross-validated, of {len(read)}")
    path = folder / "training.csv"
    replace(training, table=training.table.assign(split="")).write(path)
    return path


def run_folds(manifest: Path, folder: Path, folds: int, options: list[str]) -> pd.DataFrame:
    """Fit and test every fold that has not been; returns all test predictions, with their fold."""
    manifest = without_splits(manifest, folder)
    tables = [run_fold(manifest, folder, fold, folds, options) for fold in range(folds)]
    return pd.concat(tables, ignore_index=True)


def run_fold(manifest: Path, folder: Path, fold: int, folds: int, options: list[str]) -> pd.DataFrame:
    """Fit and test one fold of a manifest without splits, unless that was done; its test predictions."""
    run = folder / f"fold-{fold}"
    same_as_before(run, manifest, {"folds": folds, "options": options})
    if not (run / "metrics.json").is_file():
        split = ["--data.split=Folds", f"--data.split.test={fold}", f"--data.split.count={folds}"]
        arguments = [f"--trainer.default_root_dir={run}", f"--data.manifest={manifest}", *split, *options]
        if main(["fit", f"--config={CONFIG}", *arguments, "--ckpt_path=last"]):
            raise SystemExit(f"fold {fold}: `oahier fit` failed")
        best = (run / "checkpoints" / "best.ckpt").is_file()
        epoch = "best" if best else "last"
        if main(["test", f"--config={run / 'config.yaml'}", f"--ckpt_path={epoch}"]):
            raise SystemExit(f"fold {fold}: `oahier test` failed")
    return pd.read_csv(run / "predictions.csv", dtype={"knee": str, "subject": str}).assign(fold=fold)


def same_as_before(run: Path, manifest: Path, asked: dict[str, object]) -> None:
    """Keep what a fold was asked for, so that folds of other options or knees are never pooled with it.

    Raises:
        SystemExit: the fold's folder holds another training.
    """
    asked = {**asked, "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest()}
    path = run / "asked.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else asked
    other = next((name for name in asked if before.get(name) != asked[name]), "")
    if other:
        was = "other knees or labels" if other == "manifest_sha256" else f"{other}: {before.get(other)}"
        raise SystemExit(f"{run} was trained with {was}; name another --folder, or delete this one")
    write_json(path, asked)


def report(predictions: pd.DataFrame, covariate: pd.Series | None) -> Table:
    """Pooled metrics, each with its interval."""
    table = Table("metric", "value", "95 % interval", "knees", title="Held-out knees of all folds")
    kl = predictions.dropna(subset=["label_kl", *GRADES])
    labels, p = kl["label_kl"].to_numpy(int), kl[GRADES].to_numpy()
    _metric_rows(table, "KL", Rows.of(p, labels, subject=kl["subject"].to_numpy(str)))
    oa = predictions.dropna(subset=["label_oa", "prob_oa"])
    oa_labels, probability = oa["label_oa"].to_numpy(int), oa["prob_oa"].to_numpy()
    _metric_rows(table, "OA", Rows.of(probability, oa_labels, subject=oa["subject"].to_numpy(str)))
    if covariate is not None:
        _covariate_rows(table, kl, covariate)
    return table


def _metric_rows(table: Table, task: str, rows: Rows) -> None:
    chosen = [one for one in registered() if one.headline or one.name == "spearman"]
    for row in summarise_rows([rows], chosen):
        _row(table, f"{task} {row.metric}", row.value, row.ci_low, row.ci_high, row.knees)


def _covariate_rows(table: Table, kl: pd.DataFrame, covariate: pd.Series) -> None:
    """The covariate alone, signed such that it rises with the grade, of the knees that have one."""
    kl = measured(kl, covariate)
    number = covariate.reindex(kl["knee"]).to_numpy(float)
    labels = kl["label_kl"].to_numpy(int)
    rho = spearmanr(number, labels).statistic
    table.add_section()
    table.add_row(f"{covariate.name}: spearman", f"{rho:.3f}", "", str(len(kl)))
    weights = subject_weights(list(kl["subject"]), 2000, seed=0)
    for name, positive in {
        "KL severe_auc": labels >= SEVERE_FROM_GRADE,
        "OA auc": kl["label_oa"].to_numpy(int) == 1,
    }.items():
        scores = number * np.sign(rho)
        value = weighted_auc(np.ones((1, len(kl))), scores, positive)[0]
        interval = percentile_interval(weighted_auc(weights, scores, positive))
        _row(table, f"{covariate.name}: {name}", value, interval.low, interval.high, len(kl))


def _row(table: Table, name: str, value: float, low: float, high: float, knees: int) -> None:
    table.add_row(name, f"{value:.3f}", f"{low:.3f} to {high:.3f}", str(knees))


if __name__ == "__main__":
    known, further = parser(__doc__, "runs/folds").parse_known_args(sys.argv[1:])
    column = read_covariate(known.manifest, known.covariate) if known.covariate else None
    held_out = run_folds(known.manifest, known.folder, known.folds, further)
    Console().print(report(held_out, column))
