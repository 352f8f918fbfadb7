"""Two models compared on the same knees, from their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from oahier.hierarchy import head_label
from oahier.metrics.registry import Metric, registered
from oahier.metrics.rows import Rows
from oahier.statistics.bootstrap import RESAMPLES, SEED, Design, compare_statistics
from oahier.statistics.delong import delong
from oahier.statistics.intervals import TIE, Statistic
from oahier.statistics.mcnemar import mcnemar
from oahier.statistics.paired_predictions import Cohort, align
from oahier.statistics.predictions import Predictions
from oahier.statistics.published import published_generator, trapezoid_auc
from oahier.statistics.tables import Comparison

Resampling = Literal["shared", "published"]
AUCTest = Literal["bootstrap", "delong"]


def compare_predictions(
    a: Sequence[Predictions],
    b: Sequence[Predictions],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    metrics: Sequence[str | Metric] | None = None,
    oa_from_kl: bool = False,
    auc_test: AUCTest = "bootstrap",
    resampling: Resampling = "shared",
) -> list[Comparison]:
    """Compare two models on the same knees, by every metric of every head that both have.

    The p value of the accuracy of a head of two classes is McNemar's where knees are independent (one a
    subject) and each side is one model; that of all else comes from the paired bootstrap over subjects, and
    over seeds where a side has several (:mod:`oahier.statistics.bootstrap`). Intervals are always
    bootstrapped. Knees without a label of a head are left out of its rows.

    Args:
        a: predictions of the first model, one table a seed.
        b: those of the second.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
        metrics: the metrics, or names of registered ones; those that tables show by default when not given.
        oa_from_kl: score a model without an OA head on OA by the sum of its probabilities of KL >= 2.
        auc_test: ``"delong"`` takes the p value and interval of the AUC of a head of two classes from
            DeLong's test instead, where McNemar's assumptions hold too.
        resampling: ``"shared"`` evaluates all metrics on the same resamples. ``"published"`` repeats the
            order and the rounding of the paper's evaluation (:mod:`oahier.statistics.published`); slower.

    Raises:
        ValueError: tables of different knees, labels or subjects, or without a common head or metric.
    """
    if not a or not b:
        raise ValueError(f"expected at least one prediction table a side, got {len(a)} and {len(b)}")
    chosen = chosen_metrics(metrics)
    cohort = align([*a, *b])
    found: list[Comparison] = []
    for head in cohort.tasks(oa_from_kl):
        sides = [head_rows(cohort, models, head, oa_from_kl) for models in (a, b)]
        if sides[0] is None or sides[1] is None:
            continue
        fitting = [metric for metric in chosen if metric.applies(sides[0][0])]
        both = (sides[0], sides[1])
        found += _compare_head(head, fitting, both, resamples, seed, resampling, auc_test)
    if not found:
        raise ValueError(nothing_in_common([*a, *b], cohort, oa_from_kl))
    return found


def chosen_metrics(metrics: Sequence[str | Metric] | None) -> list[Metric]:
    """Registered metrics in the order of the tables, then a caller's own.

    Raises:
        ValueError: a name that is not registered.
    """
    known = [metric for metric in registered() if metric.kind != "hierarchy"]
    if metrics is None:
        return [metric for metric in known if metric.compared]
    names = dict.fromkeys(metric.name for metric in known)
    for name in metrics:
        if isinstance(name, str) and name not in names:
            raise ValueError(f"metrics: expected some of {', '.join(names)}, got {name!r}")
    own = [metric for metric in metrics if isinstance(metric, Metric) and metric not in known]
    return [metric for metric in known if metric in metrics or metric.name in metrics] + own


def head_rows(
    cohort: Cohort, models: Sequence[Predictions], head: str, oa_from_kl: bool
) -> list[Rows] | None:
    """Labelled rows of every seed; ``None`` if one lacks the head, or without a labelled knee."""
    rows = [cohort.rows(model, head, oa_from_kl) for model in models]
    known = [one for one in rows if one is not None and len(one)]
    return known if len(known) == len(rows) else None


def _compare_head(
    head: str,
    metrics: Sequence[Metric],
    sides: tuple[list[Rows], list[Rows]],
    resamples: int,
    seed: int,
    resampling: Resampling,
    auc_test: AUCTest,
) -> list[Comparison]:
    first, second = sides[0][0], sides[1][0]
    design = Design(first.subject, (len(sides[0]), len(sides[1])))
    published = resampling == "published"
    found: list[Comparison] = []
    for group in [[metric] for metric in metrics] if published else [metrics]:
        statistics = {
            one.name: [[_statistic(one, rows, published) for rows in side] for side in sides] for one in group
        }
        generator = None
        if published:
            generator = published_generator(head, group[0].name, design.subjects, resamples, seed)
        found += compare_statistics(
            statistics,
            design.subjects,
            task=head_label(head),
            resamples=resamples,
            seed=seed,
            generator=generator,
            tie=0.0 if published else TIE,
        )
    if not (design.independent and first.binary):
        return found
    return [_classical(row, first, second, auc_test) for row in found]


def _statistic(metric: Metric, rows: Rows, published: bool) -> Statistic:
    return partial(trapezoid_auc if published and metric.name == "auc" else metric, rows=rows)


def _classical(row: Comparison, a: Rows, b: Rows, auc_test: AUCTest) -> Comparison:
    """McNemar's test in the row of the accuracy, and DeLong's in that of the AUC where it is asked for."""
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
    if row.metric == "auc" and auc_test == "delong":
        pair = delong(a.positive, [a.probabilities[:, 1], b.probabilities[:, 1]]).compare(0, 1)
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


def nothing_in_common(models: Sequence[Predictions], cohort: Cohort, oa_from_kl: bool) -> str:
    """The message where no head and metric is left to compute."""
    heads = {model.source: " and ".join(map(head_label, model.heads)) for model in models}
    said = ", ".join(f"{source} has {found}" for source, found in heads.items())
    labels = ", ".join(
        f"{int(cohort.labelled(head).sum())} {head_label(head)} labels" for head in cohort.labels
    )
    advice = "" if oa_from_kl else "; --oa-from-kl (oa_from_kl=True) scores a KL head on OA"
    return f"expected a chosen metric of a head that all models have, but {said}, with {labels}{advice}"
