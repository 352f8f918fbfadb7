"""The page of a clinical report, everything inlined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oahier.clinical import Estimate
from oahier.pages import render
from oahier.pages.charts import drawn
from oahier.pages.text import count, interval, number, p_value
from oahier.reporting.clinical_figures import COLOURS, benefit_figure, calibration_figure
from oahier.reporting.clinical_results import ClinicalReport, EventResult

TEMPLATES = Path(__file__).parent / "templates"


def clinical_page(report: ClinicalReport) -> str:
    """The page as text."""
    names = list(dict.fromkeys(one.event.name for one in report.results))
    groups = [[one for one in report.results if one.event.name == name] for name in names]
    shown = [group for group in groups if group[0].event.defined]
    return render(
        TEMPLATES,
        "clinical.html",
        source=Path(report.source).name,
        lead=f"{count(report.knees, 'labelled knee')} of {count(report.subjects, 'subject')}",
        subject_given=report.subject_given,
        specificity=f"{report.specificity:g}",
        variants=[
            {"name": one.variant, "colour": colour} for one, colour in zip(groups[0], COLOURS, strict=False)
        ],
        calibration=[_calibration_line(one) for one in report.results],
        notes=[f"{one.event.name}: {one.calibration.note}" for one in report.results if one.calibration.note],
        calibration_charts=_charts("calibration", shown),
        benefit_charts=_charts("benefit", shown),
        subgroups=[
            [
                line.covariate, line.group, line.metric.upper(), str(line.knees), str(line.subjects),
                line.note or _whole(line.estimate), p_value(line.p_value), p_value(line.p_adjusted),
            ]
            for line in report.subgroups
        ],
        left_out=report.left_out,
        decisions=[] if report.decisions is None else report.decisions.describe(),
        items=report.items,
        missing=sum(bool(item.missing) for item in report.items),
    )  # fmt: skip


def told(estimate: Estimate, digits: int = 2) -> str:
    """A value with its interval.

    >>> told(Estimate(0.5, 0.4, 0.6))
    '0.50 [0.40, 0.60]'
    """
    return f"{number(estimate.value, digits)} {interval(estimate.low, estimate.high, digits)}".strip()


def _whole(estimate: Estimate, digits: int = 2) -> str:
    """As :func:`told`, with an interval that no line breaks."""
    return told(estimate, digits).replace(", ", ",\N{NO-BREAK SPACE}")


def _calibration_line(one: EventResult) -> list[str]:
    found = one.calibration
    return [
        one.event.name, one.variant, f"{int(one.event.happened.sum())} of {len(one.event)}",
        number(found.expected), _whole(found.observed), _whole(found.intercept), _whole(found.slope),
        _whole(found.index, 3), _whole(one.auc), _whole(one.point.sensitivity),
    ]  # fmt: skip


def _charts(kind: str, groups: Sequence[Sequence[EventResult]]) -> Sequence[object]:
    if not groups:
        return []
    figure = calibration_figure(groups) if kind == "calibration" else benefit_figure(groups)
    return drawn(kind, kind, figure).charts
