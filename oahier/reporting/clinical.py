"""Clinical evaluation of a prediction file: numbers of every event, tables and a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oahier.callbacks.files import write_rows
from oahier.clinical import (
    Calibrator,
    Decisions,
    Estimate,
    Event,
    Subgroup,
    ThresholdRule,
    calibration,
    decision_curve,
    events_of,
    sensitivity_at,
    subgroups,
)
from oahier.data.manifest.columns import COLUMNS, LEVELS, PROVENANCE
from oahier.files import write_atomically
from oahier.metrics import Rows, find_metrics
from oahier.reporting.checklist import checklist
from oahier.reporting.clinical_page import clinical_page
from oahier.reporting.clinical_results import ClinicalReport, EventResult
from oahier.statistics.clustered_auc import clustered_auc
from oahier.statistics.predictions import Predictions
from oahier.types import MISSING

PLAIN, CALIBRATED = "as predicted", "recalibrated"
OWN_COLUMNS = frozenset(COLUMNS) - {"side", "visit"}
"""Columns of a manifest that are no covariates."""
_TRUTH = frozenset({"severity", "true_kl"})
"""What only a phantom knows: never a covariate unless it is asked for."""
_MOST_GROUPS = 12


def evaluate_clinically(
    predictions: Predictions,
    *,
    manifest: Any = None,
    decisions: Decisions | None = None,
    covariates: Sequence[str] | None = None,
    specificity: float = 0.9,
    resamples: int = 1000,
    seed: int = 0,
    facts: Mapping[str, str] | None = None,
) -> ClinicalReport:
    """Evaluate predictions clinically; see :mod:`oahier.clinical` for each number.

    Args:
        predictions: of the evaluated knees.
        manifest: table (``pandas.DataFrame``) with a row a knee, for subgroups by its covariates.
        decisions: calibration and thresholds fitted on other subjects.
        covariates: columns of the manifest; all that are no ids, files or labels when not given.
        specificity: at which sensitivity is told.
        resamples: of subjects, for intervals.
        seed: of the resampling.
        facts: further facts for the checklists, see :func:`oahier.reporting.checklist.checklist`.

    Raises:
        ValueError: no labelled knee, subjects that ``decisions`` were fitted on, or knees or covariates that
            the manifest lacks.
    """
    events = events_of(predictions)
    if not events:
        raise ValueError(f"{predictions.source}: expected labelled knees of some head, got none")
    plain = {event.name: event for event in events}
    variants = [(PLAIN, events)]
    if decisions is not None:
        variants.append((CALIBRATED, events_of(decisions.apply(predictions))))
    results = [
        _result(event, variant, specificity, resamples, seed)
        for group in zip(*(found for _, found in variants), strict=True)
        for event, (variant, _) in zip(group, variants, strict=True)
    ]
    lines: list[Subgroup] = []
    left_out: list[str] = []
    if manifest is not None:
        table, left_out = _covariates(predictions, manifest, covariates)
        lines = [line for name in _main_heads(predictions) for line in _subgroups(predictions, name, table)]
    return ClinicalReport(
        source=predictions.source,
        knees=max(len(event) for event in plain.values()),
        subjects=max(len(np.unique(event.subject)) for event in plain.values()),
        subject_given=predictions.subject_given,
        specificity=specificity,
        results=results,
        subgroups=lines,
        decisions=decisions,
        left_out=left_out,
        items=checklist(predictions, manifest, decisions, lines, facts or {}),
    )


def write_clinical_report(report: ClinicalReport, folder: Path | str) -> Path:
    """Write ``index.html``, its CSV tables and, where there are some, ``decisions.json``; returns the page.

    Raises:
        OSError: the folder cannot be written.
    """
    target = Path(folder)
    write_rows(target / "calibration.csv", *_calibration_rows(report))
    write_rows(target / "decision_curves.csv", *_curve_rows(report))
    if report.subgroups:
        write_rows(target / "subgroups.csv", *_subgroup_rows(report))
    write_rows(
        target / "checklist.csv", ["guideline", "item", "about", "found", "missing"],
        [[item.guideline, item.number, item.about, item.found, item.missing] for item in report.items],
    )  # fmt: skip
    if report.decisions is not None:
        report.decisions.write(target / "decisions.json")
    return write_atomically(target / "index.html", clinical_page(report))


def fit_decisions(
    validation: Predictions, calibrator: Calibrator | None = None, threshold: ThresholdRule | None = None
) -> Decisions:
    """Calibration and thresholds of every head of validation predictions."""
    heads = {name: _rows(validation, name) for name in validation.heads}
    return Decisions.fit(heads, calibrator=calibrator, threshold=threshold, fitted_on=validation.source)


def _rows(predictions: Predictions, head: str) -> Rows:
    return predictions.heads[head].labelled_rows(predictions.labels[head], predictions.subject)


def _result(event: Event, variant: str, specificity: float, resamples: int, seed: int) -> EventResult:
    area = Estimate(float("nan"))
    if event.defined:
        found = clustered_auc(event.happened.astype(int), [event.probability], event.subject)
        low, high = found.interval(0) if found.covariance[0, 0] > 0 else (float("nan"), float("nan"))
        area = Estimate(float(found.auc[0]), low, high)
    return EventResult(
        event,
        variant,
        area,
        calibration(event, resamples=min(resamples, 500), seed=seed),
        sensitivity_at(event, specificity, resamples=resamples, seed=seed),
        decision_curve(event, resamples=resamples, seed=seed),
    )


def _main_heads(predictions: Predictions) -> list[str]:
    return [name for name in predictions.heads if (predictions.labels[name] != MISSING).any()]


def _covariates(
    predictions: Predictions, manifest: Any, wanted: Sequence[str] | None
) -> tuple[dict[str, Any], list[str]]:
    """Values of each covariate in the order of the predictions, and those that are left out."""
    rows = {str(knee): row for row, knee in enumerate(manifest["knee"])}
    absent = [knee for knee in predictions.knee.tolist() if knee not in rows]
    if absent:
        raise ValueError(
            f"manifest: expected the knees of {predictions.source}, {len(absent)} missing ({absent[0]})"
        )
    names = [str(name) for name in manifest.columns if name not in OWN_COLUMNS]
    unknown = sorted(set(wanted or ()) - set(names))
    if unknown:
        raise ValueError(
            f"covariates: expected columns of the manifest ({', '.join(names)}), got {unknown[0]}"
        )
    order = [rows[knee] for knee in predictions.knee.tolist()]
    found, left_out = {}, []
    further = re.compile(f"({'|'.join(map(re.escape, (*LEVELS, *predictions.heads)))})(_[0-9]+)?")
    usual = [name for name in names if name not in {*_TRUTH, *PROVENANCE} and not further.fullmatch(name)]
    for name in wanted or usual:
        values = [manifest[name].iloc[row] for row in order]
        known = [str(value) for value in values if value == value and str(value)]
        texts = set(known)
        numeric = manifest[name].dtype.kind in "fi"
        if len(texts) < 2:
            left_out.append(f"{name} (one value)")
        elif not numeric and len(texts) > 2 and len(texts) == len(known):
            left_out.append(f"{name} (another text for every knee)")
        elif len(texts) > _MOST_GROUPS and not numeric:
            left_out.append(f"{name} ({len(texts)} different texts)")
        else:
            found[name] = np.array(values, dtype=object)
    return found, left_out


def _subgroups(predictions: Predictions, head: str, covariates: Mapping[str, Any]) -> list[Subgroup]:
    rows = _rows(predictions, head)
    known = predictions.labels[head] != MISSING
    kind, name = ("binary", "auc") if rows.binary else ("ordinal", "qwk")
    metric = next(found for found in find_metrics(name) if found.kind == kind)
    inside = {covariate: values[known].tolist() for covariate, values in covariates.items()}
    return subgroups(rows, inside, metric)


Cells = tuple[list[str], list[list[object]]]


def _bounds(estimate: Estimate) -> list[object]:
    return [estimate.value, estimate.low, estimate.high]


def _three(name: str) -> list[str]:
    return [name, f"{name}_low", f"{name}_high"]


def _calibration_rows(report: ClinicalReport) -> Cells:
    columns = ["event", "probabilities", "knees", "subjects", "mean_probability", *_three("share")]
    columns += [*_three("intercept"), *_three("slope"), *_three("calibration_index"), *_three("auc")]
    columns += [*_three("sensitivity"), "specificity", "threshold", "note"]
    rows: list[list[object]] = []
    for one in report.results:
        found = one.calibration
        rows.append(
            [
                one.event.name, one.variant, len(one.event), len(np.unique(one.event.subject)),
                found.expected, *_bounds(found.observed), *_bounds(found.intercept), *_bounds(found.slope),
                *_bounds(found.index), *_bounds(one.auc), *_bounds(one.point.sensitivity),
                one.point.specificity, one.point.threshold, found.note,
            ]
        )  # fmt: skip
    return columns, rows


def _curve_rows(report: ClinicalReport) -> Cells:
    columns = ["event", "probabilities", "threshold", *_three("net_benefit"), "net_benefit_all"]
    rows: list[list[object]] = [
        [one.event.name, one.variant, *values]
        for one in report.results
        for values in zip(
            one.curve.thresholds, one.curve.model, one.curve.low, one.curve.high, one.curve.all, strict=True
        )
    ]
    return columns, rows


def _subgroup_rows(report: ClinicalReport) -> Cells:
    columns = ["metric", "covariate", "group", "knees", "subjects", *_three("value"), "note"]
    rows: list[list[object]] = [
        [
            line.metric, line.covariate, line.group, line.knees, line.subjects, *_bounds(line.estimate),
            line.note, line.p_value, line.p_adjusted,
        ]
        for line in report.subgroups
    ]  # fmt: skip
    return [*columns, "p_interaction", "p_adjusted"], rows
