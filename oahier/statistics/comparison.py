"""Two models compared on the same knees, from their predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from oahier.hierarchy import head_label
from oahier.metrics.registry import Metric, chosen_metrics
from oahier.metrics.rows import Rows
from oahier.statistics.clustered_auc import clustered_auc
from oahier.statistics.contrasts import Contrast, compare_contrasts, judged
from oahier.statistics.delong import delong
from oahier.statistics.jackknife import unit_count
from oahier.statistics.margins import NO_MARGINS, Margins, margin_of
from oahier.statistics.mcnemar import mcnemar
from oahier.statistics.paired_predictions import align
from oahier.statistics.predictions import Predictions
from oahier.statistics.published import Bootstrap
from oahier.statistics.tables import Comparison

AUCTest = Literal["jackknife", "delong"]


def compare_predictions(
    a: Sequence[Predictions],
    b: Sequence[Predictions],
    *,
    metrics: Sequence[str | Metric] | None = None,
    oa_from_kl: bool = False,
    paired_seeds: bool = False,
    margins: Margins = NO_MARGINS,
    auc_test: AUCTest = "jackknife",
    bootstrap: Bootstrap | None = None,
    advance: Callable[[int], None] | None = None,
) -> list[Comparison]:
    """Compare two models on the same knees, by every metric of every head that both have.

    With several seeds on each side, the interval and p value are Obuchowski and Rockette's, over knees and
    seeds; the columns ``models_...`` say what holds for the trained models as they are. With one model a
    side there is the latter only (jackknife over subjects, t distribution; exact where subjects are few),
    and the p value of a share of knees is McNemar's where knees are independent (one a subject). Knees
    without a label of a head are left out of its rows.

    Args:
        a: predictions of the first model, one table a seed.
        b: those of the second.
        metrics: the metrics, or names of registered ones; those that tables show by default when not given.
        oa_from_kl: score a model without an OA head on OA by the sum of its probabilities of KL >= 2.
        paired_seeds: table *j* of a and of b had the same seed: initialisation, order, reading.
        margins: largest difference that does not matter: one for all metrics, or by name.
        auc_test: ``"delong"`` takes the covariances of the AUC of a head of two classes in DeLong's closed
            form; with several knees a subject in Obuchowski's (:func:`~oahier.statistics.clustered_auc`).
        bootstrap: resample subjects instead, or repeat the order and the rounding of the paper's evaluation.
        advance: told how many values were computed, for a progress bar.

    Raises:
        ValueError: tables of different knees, labels or subjects, or without a common head or metric; paired
            seeds of different number.
    """
    if not a or not b:
        raise ValueError(f"expected at least one prediction table a side, got {len(a)} and {len(b)}")
    if paired_seeds and len(a) != len(b):
        raise ValueError(f"paired seeds: expected as many models on each side, got {len(a)} and {len(b)}")
    chosen = chosen_metrics(metrics)
    cohort = align([*a, *b])
    found: list[Comparison] = []
    for head in cohort.tasks(oa_from_kl):
        sides = [cohort.rows_of_all(models, head, oa_from_kl) for models in (a, b)]
        if sides[0] is None or sides[1] is None:
            continue
        both = Sides(head, sides[0], sides[1])
        contrasts = [
            both.contrast(metric, margin_of(margins, metric.name), auc_test)
            for metric in chosen
            if metric.applies(sides[0][0])
        ]
        subjects, task = both.first.subject, head_label(head)
        rows = compare_contrasts(contrasts, subjects, task=task, paired=paired_seeds, advance=advance)
        if bootstrap is not None:
            rows = bootstrap.rows(head, contrasts, subjects, rows)
        found += [both.classical(row) for row in rows]
    if not found:
        raise ValueError(cohort.nothing_in_common([*a, *b], oa_from_kl))
    return found


def value_count(a: Sequence[Predictions], b: Sequence[Predictions], metrics: int) -> int:
    """About how many values a comparison computes, for a progress bar."""
    return (len(a) + len(b)) * metrics * unit_count(len(np.unique(a[0].subject)))


@dataclass(frozen=True, eq=False)
class Sides:
    """Rows of one head of both models, one a seed."""

    head: str
    a: Sequence[Rows]
    b: Sequence[Rows]

    @property
    def first(self) -> Rows:
        """Of the first model; labels and subjects are those of all."""
        return self.a[0]

    @property
    def independent(self) -> bool:
        """True where every row is a subject, which classical tests assume."""
        return len(np.unique(self.first.subject)) == len(self.first)

    def contrast(self, metric: Metric, margin: float, auc_test: AUCTest) -> Contrast:
        """A metric as functions of row weights."""
        covariance, closed_form = None, "delong"
        if auc_test == "delong" and metric.name == "auc" and self._defined:
            scores = [rows.probabilities[:, 1] for rows in (*self.a, *self.b)]
            if self.independent:
                covariance = delong(self.first.positive, scores).covariance
            else:
                closed_form = "clustered_delong"
                covariance = clustered_auc(self.first.positive, scores, self.first.subject).covariance
        return Contrast(
            metric.name,
            [partial(metric, rows=rows) for rows in self.a],
            [partial(metric, rows=rows) for rows in self.b],
            smaller=metric.better == "smaller",
            share=metric.share,
            margin=margin,
            largest=metric.largest_difference(self.first.classes),
            covariance=covariance,
            closed_form=closed_form,
        )

    @property
    def _defined(self) -> bool:
        return all(rows.defined for rows in (*self.a, *self.b))

    def classical(self, row: Comparison) -> Comparison:
        """The row of a share of knees, with McNemar's p value where its assumptions hold."""
        share = row.metric == "accuracy" and (self.first.binary or row.test != "paired_bootstrap")
        if not (share and self.independent and len(self.a) == len(self.b) == 1 and self._defined):
            return row
        test = mcnemar(self.a[0].correct, self.b[0].correct)
        better = test.p_not_better if row.subjects > 1 else row.p_not_better
        return judged(
            replace(
                row,
                p_value=test.p_value,
                p_adjusted=test.p_value,
                models_p_value=test.p_value,
                p_not_better=better,
                test=test.test,
                effect="discordant_odds_ratio",
                effect_size=test.odds_ratio,
            )
        )
