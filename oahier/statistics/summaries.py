"""Metrics of one model with their intervals, over subjects and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from oahier.hierarchy import head_label
from oahier.metrics.registry import Metric, chosen_metrics
from oahier.metrics.rows import Rows
from oahier.statistics.paired_predictions import align
from oahier.statistics.predictions import Predictions
from oahier.statistics.tables import Summary
from oahier.statistics.values import Values, summarise_values_of


def summarise_predictions(
    models: Sequence[Predictions],
    *,
    metrics: Sequence[str | Metric] | None = None,
    oa_from_kl: bool = False,
) -> list[Summary]:
    """Every metric of one model with its interval over subjects, and over seeds where there are several.

    Args:
        models: predictions of the model, one table a seed.
        metrics: the metrics, or names of registered ones; those that tables show by default when not given.
        oa_from_kl: score a model without an OA head on OA by the sum of its probabilities of KL >= 2.

    Raises:
        ValueError: tables of different knees, labels or subjects, or without a labelled head.
    """
    chosen, cohort = chosen_metrics(metrics), align(models)
    found: list[Summary] = []
    for head in cohort.tasks(oa_from_kl):
        rows = cohort.rows_of_all(models, head, oa_from_kl)
        if rows is not None:
            found += summarise_rows(rows, chosen, task=head_label(head))
    if not found:
        raise ValueError(cohort.nothing_in_common(models, oa_from_kl))
    return found


def summarise_rows(
    rows: Sequence[Rows],
    metrics: Sequence[Metric],
    *,
    task: str = "",
) -> list[Summary]:
    """Metrics of one head with their intervals; see :func:`summarise_predictions`.

    An interval is a t interval of the jackknife over subjects on the scale of the metric
    (:mod:`oahier.statistics.scales`); with several seeds it is Obuchowski and Rockette's, over subjects and
    seeds. Where all subjects are alike there is no spread: a share of knees then has the exact interval of as
    many subjects (Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404), any other metric none (NaN).

    Args:
        rows: labels and probabilities, one a seed, of the same knees.
        metrics: those of other heads are left out.
        task: goes into the rows of the table.

    Returns:
        One row a metric; NaN without labelled knees or where a probability is not finite.

    >>> from oahier.metrics import registered
    >>> rows = Rows.of([0.9, 0.2, 0.6, 0.4], [1, 0, 0, 1], subject=["a", "a", "b", "c"])
    >>> found = summarise_rows([rows], registered())
    >>> [(one.metric, one.value) for one in found][:2]
    [('auc', 0.75), ('accuracy', 0.5)]
    """
    values = [
        Values(metric.name, [partial(metric, rows=one) for one in rows], metric.share, metric.scale)
        for metric in metrics
        if metric.applies(rows[0])
    ]
    return summarise_values_of(values, rows[0].subject, task=task)
