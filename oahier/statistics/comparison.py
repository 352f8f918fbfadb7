"""Two models, or one, from their predictions: differences and values with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import numpy as np

from oahier.statistics.bootstrap import (
    RESAMPLES,
    SEED,
    Comparison,
    Design,
    Seeds,
    Summary,
    compared,
    resampled_values,
    sample_values,
    summarised,
)
from oahier.statistics.delong import delong
from oahier.statistics.intervals import TIE
from oahier.statistics.mcnemar import mcnemar
from oahier.statistics.paired_predictions import Cohort, align
from oahier.statistics.predictions import Predictions
from oahier.statistics.published import published_generator, trapezoid_auc
from oahier.statistics.scores import METRICS, KLRows, OARows, Task

Resampling = Literal["shared", "published"]
AUCTest = Literal["bootstrap", "delong"]
Rows = OARows | KLRows


def compare_predictions(
    a: Sequence[Predictions],
    b: Sequence[Predictions],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    metrics: Sequence[str] | None = None,
    oa_from_kl: bool = False,
    auc_test: AUCTest = "bootstrap",
    resampling: Resampling = "shared",
) -> list[Comparison]:
    """Compare two models on the same knees, by every measure of every task that both have.

    The p value of OA accuracy is McNemar's where knees are independent (one a subject) and each side is one
    model; that of all else comes from the paired bootstrap over subjects, and over seeds where a side has
    several (:mod:`oahier.statistics.bootstrap`). Intervals are always bootstrapped. Knees without a label of
    a task are left out of that task.

    Args:
        a: predictions of the first model, one table a seed.
        b: those of the second.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
        metrics: names of the measures to compare; all of ``METRICS`` when not given.
        oa_from_kl: score a model without an OA head on OA by the sum of its probabilities of KL >= 2.
        auc_test: ``"delong"`` takes the p value and interval of the OA AUC from DeLong's test instead, where
            McNemar's assumptions hold too.
        resampling: ``"shared"`` evaluates all measures on the same resamples. ``"published"`` repeats the
            order and the rounding of the paper's evaluation (:mod:`oahier.statistics.published`); slower.

    Raises:
        ValueError: tables of different knees, labels or subjects, or without a common task or measure.
    """
    if not a or not b:
        raise ValueError(f"expected at least one prediction table a side, got {len(a)} and {len(b)}")
    chosen = _chosen(metrics)
    cohort = align([*a, *b])
    found: list[Comparison] = []
    for task in get_args(Task):
        sides = [_task_rows(cohort, models, task, oa_from_kl) for models in (a, b)]
        known = cohort.labelled(task)
        if sides[0] is None or sides[1] is None or not known.any() or not chosen[task]:
            continue
        design = Design(cohort.subject[known], (len(a), len(b)))
        both = (sides[0], sides[1])
        found += _compare_task(task, chosen[task], both, design, resamples, seed, resampling)
        if task == "OA" and design.independent:
            found = [_classical(row, sides[0][0], sides[1][0], auc_test) for row in found]
    if not found:
        raise ValueError(_nothing_in_common(a, b, cohort, oa_from_kl))
    return found


def summarise_predictions(
    models: Sequence[Predictions], *, resamples: int = RESAMPLES, seed: int = SEED, oa_from_kl: bool = False
) -> list[Summary]:
    """Every measure of one model with its interval over subjects, and over seeds where there are several.

    Args:
        models: predictions of the model, one table a seed.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
        oa_from_kl: score a model without an OA head on OA by the sum of its probabilities of KL >= 2.

    Raises:
        ValueError: tables of different knees, labels or subjects, or without a labelled task.
    """
    cohort = align(models)
    found: list[Summary] = []
    for task in get_args(Task):
        rows, known = _task_rows(cohort, models, task, oa_from_kl), cohort.labelled(task)
        if rows is None or not known.any():
            continue
        design = Design(cohort.subject[known], (len(models),))
        statistics = [one.statistics() for one in rows]
        flat = [of[metric] for metric in METRICS[task] for of in statistics]
        values = sample_values(flat, len(design.subjects)).reshape(-1, len(models))
        drawn = resampled_values(flat, design.subjects, resamples, np.random.default_rng(seed))
        seeds = Seeds(design.seeds, resamples, seed)
        for at, metric in enumerate(METRICS[task]):
            mine = drawn[at * len(models) : (at + 1) * len(models)]
            found.append(summarised(task, metric, values[at], seeds.mean(0, mine), design))
    if not found:
        raise ValueError(_nothing_in_common(models, models, cohort, oa_from_kl))
    return found


def _chosen(metrics: Sequence[str] | None) -> dict[Task, list[str]]:
    known = dict.fromkeys(name for names in METRICS.values() for name in names)
    unknown = [] if metrics is None else [name for name in metrics if name not in known]
    if unknown:
        raise ValueError(f"metrics: expected some of {', '.join(known)}, got {unknown[0]!r}")
    return {task: [name for name in METRICS[task] if metrics is None or name in metrics] for task in METRICS}


def _task_rows(
    cohort: Cohort, models: Sequence[Predictions], task: Task, oa_from_kl: bool
) -> list[Rows] | None:
    """Rows of every seed; ``None`` if one lacks the head."""
    rows = [cohort.rows(model, task, oa_from_kl) for model in models]
    known = [one for one in rows if one is not None]
    return known if len(known) == len(rows) else None


def _compare_task(
    task: Task,
    metrics: Sequence[str],
    sides: tuple[list[Rows], list[Rows]],
    design: Design,
    resamples: int,
    seed: int,
    resampling: Resampling,
) -> list[Comparison]:
    published = resampling == "published"
    statistics = [one.statistics() for one in (*sides[0], *sides[1])]
    for of, rows in zip(statistics, (*sides[0], *sides[1]), strict=True):
        if published and isinstance(rows, OARows):
            of["auc"] = partial(trapezoid_auc, rows=rows)
    models, first = len(statistics), len(sides[0])
    seeds = Seeds(design.seeds, resamples, seed)
    groups = [[metric] for metric in metrics] if published else [list(metrics)]
    found: list[Comparison] = []
    for group in groups:
        flat = [of[metric] for metric in group for of in statistics]
        values = sample_values(flat, len(design.subjects)).reshape(-1, models)
        generator = (
            published_generator(task, group[0], design.subjects, resamples, seed)
            if published
            else np.random.default_rng(seed)
        )
        drawn = resampled_values(flat, design.subjects, resamples, generator)
        for at, metric in enumerate(group):
            mine = drawn[at * models : (at + 1) * models]
            differences = seeds.mean(1, mine[first:]) - seeds.mean(0, mine[:first])
            both = (values[at, :first], values[at, first:])
            found.append(compared(task, metric, both, differences, design, tie=0.0 if published else TIE))
    return found


def _classical(row: Comparison, a: Rows, b: Rows, auc_test: AUCTest) -> Comparison:
    """McNemar's test in the row of OA accuracy, and DeLong's in that of the AUC where it is asked for."""
    if row.metric == "accuracy":
        test = mcnemar(a.correct, b.correct)
        return replace(
            row,
            p_value=test.p_value,
            p_adjusted=test.p_value,
            test=test.test,
            effect="discordant_odds_ratio",
            effect_size=test.odds_ratio,
        )
    if row.metric == "auc" and auc_test == "delong" and isinstance(a, OARows) and isinstance(b, OARows):
        result = delong(a.labels, [a.probability, b.probability])
        pair = result.compare(0, 1)
        return replace(
            row,
            p_value=pair.p_value,
            p_adjusted=pair.p_value,
            ci_low=pair.ci_low,
            ci_high=pair.ci_high,
            test="delong",
            effect="standardised_difference",
            effect_size=pair.z,
            undefined=0,
        )
    return row


def _nothing_in_common(
    a: Sequence[Predictions], b: Sequence[Predictions], cohort: Cohort, oa_from_kl: bool
) -> str:
    heads = {
        model.source: " and ".join(
            name for name, values in (("OA", model.prob_oa), ("KL", model.prob_kl)) if values is not None
        )
        for model in (*a, *b)
    }
    said = ", ".join(f"{source} has {found}" for source, found in heads.items())
    labels = ", ".join(f"{int(cohort.labelled(task).sum())} {task} labels" for task in get_args(Task))
    advice = "" if oa_from_kl else "; --oa-from-kl (oa_from_kl=True) scores a KL head on OA"
    return f"expected a chosen measure of a task that all models can do, but {said}, with {labels}{advice}"
