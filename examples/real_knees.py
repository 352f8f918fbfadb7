"""A network against a measured joint gap on the same knees, in cross-validation.

    python examples/real_knees.py knees.csv --covariate gap_mm --folder runs/real --data.shape [80,128,128]

Every fold's network (``oahier fit`` with ``own_data.yaml``) and every fold's ordinal logistic regression of
the grade on the covariate are trained on the same knees and asked about the same others. Differences of
pooled held-out predictions are paired by knee, with 95 % intervals over subjects; how often each grade was
decided on is told, also by other rules of decision on the same predictions. With ``--seeds`` several
trainings of every fold are averaged.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from cross_validate import GRADES, measured, parser, read_covariate, run_folds
from rich.console import Console
from rich.table import Table
from statsmodels.miscmodels.ordinal_model import OrderedModel

from oahier.files import write_atomically
from oahier.metrics import Decoding, MostProbable, QuadraticCost, WeightedMedian, weighted_qwk
from oahier.statistics import (
    Comparison,
    Predictions,
    adjust_comparisons,
    compare_predictions,
    read_predictions,
)

STRETCHED = QuadraticCost(0.6, [1.0] * 5)
"""What grades are decided by: the expected grade, stretched, as in ``own_data.yaml``."""
METRICS = ["qwk", "macro_auc", "severe_auc", "spearman", "mae", "accuracy"]


def ordinal_regression(held_out: pd.DataFrame, covariate: pd.Series) -> pd.DataFrame:
    """Held-out probabilities of proportional odds on the covariate, fitted on the other folds' knees.

    Grades are decided on as the network's are.
    """
    made = held_out[["knee", "subject", "label_oa", "label_kl", "fold"]].copy()
    number = covariate.reindex(made["knee"]).to_numpy(float)
    scaled = (number - np.nanmean(number)) / np.nanstd(number)
    for fold in made["fold"].unique():
        test = (made["fold"] == fold).to_numpy()
        grades = pd.Categorical(made["label_kl"][~test].astype(int), categories=range(5), ordered=True)
        fitted = OrderedModel(pd.Series(grades), scaled[~test, None], distr="logit").fit(
            method="bfgs", disp=False
        )
        made.loc[test, GRADES] = np.asarray(fitted.model.predict(fitted.params, exog=scaled[test, None]))
    return made.assign(pred_kl=STRETCHED.decide(made[GRADES].to_numpy(float)))


def seed_folders(folder: Path, seeds: int) -> list[Path]:
    """The folder itself for one seed, otherwise one inside it for each."""
    return [folder] if seeds == 1 else [folder / f"seed-{seed}" for seed in range(seeds)]


def averaged(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean probabilities of the same knees by several trainings, and what is decided on them."""
    if len(tables) == 1:
        return tables[0]
    first = tables[0].copy()
    columns = [*GRADES, "prob_oa"]
    others = [table.set_index("knee").loc[first["knee"], columns].to_numpy() for table in tables]
    first[columns] = np.mean(others, axis=0)
    first["severity_kl"] = first[GRADES].to_numpy() @ np.arange(5)
    first["pred_kl"] = STRETCHED.decide(first[GRADES].to_numpy())
    first["pred_oa"] = (first["prob_oa"] >= 0.5).astype(int)
    return first


def decided(predictions: pd.DataFrame, rule: Decoding) -> tuple[float, list[int]]:
    """QWK and knees of each grade by a rule of decision, of the same probabilities."""
    grades = rule.decide(predictions[GRADES].to_numpy())
    labels = predictions["label_kl"].to_numpy(np.int64)
    qwk = float(weighted_qwk(np.ones((1, len(labels))), grades, labels)[0])
    return qwk, np.bincount(grades, minlength=5).tolist()


def compare(folder: Path, network: pd.DataFrame, baseline: pd.DataFrame) -> list[Comparison]:
    """Network minus baseline by every metric; the tables stay in the folder."""
    read: list[Predictions] = []
    for name, table in (("network", network), ("baseline", baseline)):
        path = write_atomically(folder / f"{name}.csv", table.to_csv(index=False))
        read.append(read_predictions(path))
    return adjust_comparisons(compare_predictions([read[1]], [read[0]], metrics=METRICS, oa_from_kl=True))


def report(rows: list[Comparison], network: pd.DataFrame, baseline: pd.DataFrame) -> Table:
    """Differences, then what each rule of decision makes of the same probabilities."""
    table = Table("metric", "covariate", "network", "difference", "95 % interval", "corrected p")
    for row in rows:
        interval = f"{row.ci_low:+.3f} to {row.ci_high:+.3f}"
        numbers = (
            f"{row.a:.3f}",
            f"{row.b:.3f}",
            f"{row.difference:+.3f}",
            interval,
            f"{row.p_adjusted:.3f}",
        )
        table.add_row(f"{row.task} {row.metric}", *numbers)
    table.add_section()
    rules = (MostProbable(), WeightedMedian(), QuadraticCost(), STRETCHED)
    for rule in rules:
        (a, first), (b, second) = (decided(one, rule) for one in (baseline, network))
        table.add_row(f"QWK, {rule.name}", f"{a:.3f}", f"{b:.3f}", "", f"{first} {second}", "")
    return table


def main(words: list[str] | None = None) -> list[Comparison]:
    """Folds, baseline, comparison."""
    known, further = parser(__doc__, "runs/real", compares=True).parse_known_args(words)
    column = read_covariate(known.manifest, known.covariate)
    network = averaged(
        [
            run_folds(known.manifest, folder, known.folds, [*further, f"--seed_everything={seed}"])
            for seed, folder in enumerate(seed_folders(known.folder, known.seeds))
        ]
    )
    network = measured(network, column)
    baseline = ordinal_regression(network, column)
    rows = compare(known.folder, network, baseline)
    Console().print(report(rows, network, baseline))
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
