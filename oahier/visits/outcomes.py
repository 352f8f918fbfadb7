"""Later events and the score at the first visit: areas, and associations within one grade."""

from __future__ import annotations

import math
import warnings

import numpy as np

from oahier.clinical.calibration import NAN, Estimate, logistic
from oahier.metrics.weighted import Floats
from oahier.statistics.clustered_auc import clustered_auc
from oahier.visits.courses import Indices, Visits
from oahier.visits.findings import Finding
from oahier.visits.follow_up import event_months, event_within
from oahier.visits.response import changes

FEWEST = 5
"""Subjects with the event, and without it, below which no association is told."""
_FEW = "needs five subjects with the event and five without"


def progression_auc(
    visits: Visits, score: Floats, grade: Floats, *, names: tuple[str, str], months: int | float,
    rise: int | float = 1,
) -> list[Finding]:  # fmt: skip
    """Areas under the ROC curve of an event within some months of the first visit, and their difference.

    The event is a rise of the grade; knees at the highest grade are not at risk. Intervals and the test are
    Obuchowski's (1997), with subjects as clusters.

    Args:
        visits: of the rows.
        score: ``(rows,)``, larger for worse.
        grade: ``(rows,)``, NaN where unknown.
        names: of score and grade.
        months: after the first visit.
        rise: of the grade.
    """
    first, event = first_events(visits, score, grade, months=months, rise=rise)
    subject = visits.subject[first]
    quantity = f"AUC, grade rises within {months:g} months"
    count = (len(first), len(np.unique(subject)), int(event.sum()))
    if not enough_events(event, subject):
        return [Finding(quantity, name, Estimate(NAN), *count, note=_FEW) for name in names]
    areas = clustered_auc(event, np.stack([score[first], grade[first]]), subject)
    found = [
        Finding(quantity, name, Estimate(float(areas.auc[at]), *areas.interval(at)), *count)
        for at, name in enumerate(names)
    ]
    pair = areas.compare(1, 0)
    difference = Estimate(pair.difference, pair.ci_low, pair.ci_high)
    return [
        *found,
        Finding(quantity, f"{names[0]} less {names[1]}", difference, *count, p_value=pair.p_value),
    ]


def change_auc(
    visits: Visits, score: Floats, grade: Floats, *, name: str, span: int | float | None = None
) -> Finding:  # fmt: skip
    """Area under the ROC curve of "the grade is higher later" by the change of the score over the same time.

    Args:
        visits: of the rows.
        score: ``(rows,)``, larger for worse.
        grade: ``(rows,)``, NaN where unknown.
        name: of the score.
        span: see :func:`oahier.visits.response.changes`.
    """
    pairs = changes(visits, np.isfinite(score) & np.isfinite(grade), span)
    rose = (grade[pairs[:, 1]] > grade[pairs[:, 0]]).astype(int)
    subject = visits.subject[pairs[:, 0]]
    quantity = "AUC of change, the grade is higher later"
    count = (len(pairs), len(np.unique(subject)), int(rose.sum()))
    if not enough_events(rose, subject):
        return Finding(quantity, name, Estimate(NAN), *count, note=_FEW)
    area = clustered_auc(rose, [score[pairs[:, 1]] - score[pairs[:, 0]]], subject)
    return Finding(quantity, name, Estimate(float(area.auc[0]), *area.interval(0)), *count)


def within_grade(
    visits: Visits, score: Floats, grade: Floats, *, names: tuple[str, str], months: int | float,
    rise: int | float = 1,
) -> list[Finding]:  # fmt: skip
    """Association of the score at the first visit with a later rise of the grade, the grade then held fixed.

    Odds ratios (logistic, an intercept for each grade) of an event within some months and hazard ratios (Cox,
    a baseline hazard for each grade, ties by Efron) of the time to it, both for a standard deviation of the
    score within grades, by statsmodels, with errors robust to subjects with several knees; then the odds
    ratio in each grade alone. Grades in which all knees have the event, or none has, say nothing and are left
    out. Arguments are those of :func:`progression_auc`.
    """
    happened = event_within(visits, grade, months, rise=rise, highest=np.nanmax(grade, initial=-np.inf))
    first = _first(visits, np.isfinite(score) & np.isfinite(happened))
    found = [_odds_ratio(visits, score, grade, happened, first, f"{names[1]} held fixed", names[0], months)]
    signed = event_months(visits, grade, rise=rise, highest=np.nanmax(grade, initial=-np.inf))
    found.append(_hazard_ratio(visits, score, grade, signed, names))
    for level in np.unique(grade[first]).tolist():
        inside = first[grade[first] == level]
        where = f"inside {names[1]} {level:g}"
        found.append(_odds_ratio(visits, score, grade, happened, inside, where, names[0], months))
    return found


def first_events(
    visits: Visits, score: Floats, grade: Floats, *, months: int | float, rise: int | float = 1
) -> tuple[Indices, Indices]:
    """Rows of the first visits with a score whose follow-up is known, and 1 where the grade rises in time.

    Arguments are those of :func:`progression_auc`.
    """
    happened = event_within(visits, grade, months, rise=rise, highest=np.nanmax(grade, initial=-np.inf))
    rows = _first(visits, np.isfinite(score) & np.isfinite(happened))
    return rows, happened[rows].astype(np.int64)


def _first(visits: Visits, known: np.ndarray) -> Indices:
    """The first visit of each knee where it is known; later ones do not stand in for it."""
    rows = [rows[0] for rows in visits.courses()]
    return np.array([row for row in rows if known[row]], dtype=np.int64)


def enough_events(event: np.ndarray, subject: np.ndarray) -> bool:
    """True where :data:`FEWEST` subjects have the event, and as many do not."""
    return all(len(np.unique(subject[event == side])) >= FEWEST for side in (0, 1))


def _informative(event: np.ndarray, grade: Floats) -> np.ndarray:
    """Rows of grades in which some have the event and some do not."""
    mixed = [level for level in np.unique(grade) if len(np.unique(event[grade == level])) > 1]
    return np.isin(grade, mixed)


def _scaled(score: Floats, grade: Floats) -> Floats:
    """The score in standard deviations within grades, centred there."""
    levels, which = np.unique(grade, return_inverse=True)
    centred = score - (np.bincount(which, score) / np.bincount(which))[which]
    spread = math.sqrt(float(centred @ centred) / max(len(score) - len(levels), 1))
    return centred / spread if spread > 1e-12 else np.zeros(len(score))


def _odds_ratio(
    visits: Visits, score: Floats, grade: Floats, happened: Floats, rows: np.ndarray, where: str, name: str,
    months: int | float,
) -> Finding:  # fmt: skip
    quantity = f"odds ratio of a rise within {months:g} months per s.d., {where}"
    rows = rows[_informative(happened[rows], grade[rows])]
    event, subject, level = happened[rows], visits.subject[rows], grade[rows]
    count = (len(rows), len(np.unique(subject)), int(event.sum()))
    if not enough_events(event, subject):
        return Finding(quantity, name, Estimate(NAN), *count, note=_FEW)
    design = np.column_stack([_scaled(score[rows], level), *(level == one for one in np.unique(level))])
    result = logistic(event, design.astype(np.float64), subject)
    if result is None:
        return Finding(quantity, name, Estimate(NAN), *count, note="the logistic model cannot be fitted")
    low, high = result.conf_int()[0]
    ratio = Estimate(math.exp(result.params[0]), math.exp(low), math.exp(high))
    return Finding(quantity, name, ratio, *count, p_value=float(result.pvalues[0]))


def _hazard_ratio(
    visits: Visits, score: Floats, grade: Floats, signed: Floats, names: tuple[str, str]
) -> Finding:
    from statsmodels.duration.hazard_regression import PHReg

    quantity = f"hazard ratio of a rise per s.d., {names[1]} held fixed"
    rows = _first(visits, np.isfinite(score) & np.isfinite(signed))
    event, level = (signed[rows] > 0).astype(int), grade[rows]
    rows = rows[_informative(event, level)]
    event, level, subject = (signed[rows] > 0).astype(int), grade[rows], visits.subject[rows]
    count = (len(rows), len(np.unique(subject)), int(event.sum()))
    if not enough_events(event, subject):
        return Finding(quantity, names[0], Estimate(NAN), *count, note=_FEW)
    exog = _scaled(score[rows], level)[:, None]
    strata, clusters = (np.unique(item, return_inverse=True)[1] for item in (level, subject))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        model = PHReg(np.abs(signed[rows]), exog, status=event, strata=strata, ties="efron")
        result = model.fit(groups=clusters)
    beta, error = float(result.params[0]), float(result.bse[0])
    if not (math.isfinite(beta) and math.isfinite(error) and error > 0):
        return Finding(quantity, names[0], Estimate(NAN), *count, note="Cox's model cannot be fitted")
    low, high = (math.exp(beta + side * 1.959964 * error) for side in (-1, 1))
    ratio = Estimate(math.exp(beta), low, high)
    return Finding(quantity, names[0], ratio, *count, p_value=math.erfc(abs(beta / error) / math.sqrt(2)))
