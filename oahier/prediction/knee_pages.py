"""A page a knee, which opens from a disk without a network, and a page that lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oahier.clinical.decisions import HeadDecision
from oahier.files import write_atomically
from oahier.hierarchy import OA_FROM_GRADE, head_label
from oahier.pages import render
from oahier.pages.viewer import Viewer
from oahier.prediction.axis_rows import axis_view
from oahier.prediction.finished import Record
from oahier.prediction.inputs import LeftOut
from oahier.prediction.loading import LoadedScan
from oahier.prediction.one_knee import KneePrediction, Row, grade_columns, warnings_of
from oahier.prediction.planes import ramp
from oahier.prediction.trained import TrainedModel
from oahier.types import KL_GRADES

_CUTS = ("Through the most salient voxel", "Through the middle of what the model sees")
_SHARES = "probabilities from 0 up"
_UNLIKE = "p (unlike training)"
"""The column that says whether the others can be relied on."""
_TEMPLATES = Path(__file__).parent / "templates"


def knee_page(
    path: Path,
    trained: TrainedModel,
    loaded: LoadedScan,
    prediction: KneePrediction,
    cuts: Sequence[Sequence[Mapping[str, Any]]],
    options: Mapping[str, object],
    viewer: Viewer | None = None,
) -> Path:
    """Write the page of a knee; ``cuts`` are planes through the peak and through the middle."""
    row, saliency = prediction.row, prediction.saliency
    looked = saliency is not None and saliency.strength > 0
    text = render(
        _TEMPLATES,
        "knee.html",
        knee=row["knee"],
        side=_side(row),
        warnings=warnings_of(row),
        heads=[
            _head(name, row, HeadDecision.of(prediction.decisions, name)) for name in _ordered(trained, row)
        ],
        labels=_labels(row),
        cuts=list(zip(_CUTS if looked else _CUTS[1:], cuts if looked else cuts[1:], strict=True)),
        looked=looked,
        looked_note=_looked_note(prediction, options),
        ramp=ramp(),
        unusual=row["ood_flag"] == 1,
        boxed=any(plane["box"] for plane in cuts[0]),
        outlined=any(plane["outline"] for cut in cuts for plane in cut),
        axis=axis_view(trained.reference, row),
        placed=_placed(trained, row),
        neighbours=str(row["neighbour_grades"] or "").split(),
        origin_note=_origin_note(trained),
        without_reference=trained.without_reference,
        facts=_facts(trained, loaded, prediction),
        viewer=viewer,
    )
    return write_atomically(path, text)


def index_page(
    folder: Path, trained: TrainedModel, records: Sequence[Record], left_out: Sequence[LeftOut],
    decided: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Write the page that lists the knees; ``decided`` are calibration and thresholds, in words."""
    graded = [name for name in trained.model.heads if grade_columns(records[0].row, name)]
    binary = [name for name in trained.model.heads if name not in graded]
    columns = [
        *(f"{head_label(name)} {what}" for name in graded for what in ("grade", "severity", _SHARES)),
        *(f"P({head_label(name)})" for name in binary),
        *(["percentile", _UNLIKE] if trained.reference else []),
    ]
    rows = [
        {
            "knee": record.row["knee"], "side": record.row["side"] or "side unknown",
            "warnings": warnings_of(record.row), "unusual": record.row["ood_flag"] == 1,
            "cells": _cells(record.row, graded, binary, placed=trained.reference is not None),
            "page": _link(record.files, "pages/"), "picture": _link(record.files, "pictures/"),
        }
        for record in records
    ]  # fmt: skip
    rules = {str(record.row.get(f"decoding_{name}", "")) for record in records for name in graded} - {""}
    lead = f"Model {trained.path.name} ({type(trained.model.encoder).__name__})."
    if rules:
        lead += f" Grade: {', '.join(sorted(rules))}; severity: the mean grade, weighted by probability."
    lead += "".join(f" Decisions of {line}." for line in decided)
    text = render(
        _TEMPLATES, "index.html", rows=rows, columns=columns, outputs=[name != _UNLIKE for name in columns],
        left_out=left_out, lead=lead,
    )  # fmt: skip
    return write_atomically(folder / "index.html", text)


def _link(files: Sequence[str], start: str) -> str:
    """The address of a file of the knee: its name may hold a percent sign."""
    from urllib.parse import quote

    return quote(next((name for name in files if name.startswith(start)), ""))


def _cells(row: Row, graded: Sequence[str], binary: Sequence[str], *, placed: bool) -> list[str]:
    cells = []
    for name in graded:
        shares = " ".join(f"{share:.2f}" for share in grade_columns(row, name))
        cells += [str(row[f"pred_{name}"]), f"{row[f'severity_{name}']:.2f}", shares]
    cells += [f"{row[f'prob_{name}']:.2f}" for name in binary]
    if placed:
        cells += [_number(row["axis_percentile"], ".0f"), _number(row["ood_p"], ".3f")]
    return cells


def _number(value: object, form: str) -> str:
    return "unknown" if value is None else format(float(str(value)), form)


def _side(row: Row) -> str:
    return f"{str(row['side']).capitalize()} knee" if row["side"] else "Side unknown"


def _ordered(trained: TrainedModel, row: Row) -> list[str]:
    """Heads with grades first."""
    return sorted(trained.model.heads, key=lambda name: not grade_columns(row, name))


def _head(name: str, row: Row, decision: HeadDecision) -> dict[str, Any]:
    grades = grade_columns(row, name)
    title = head_label(name)
    if not grades:
        value, yes = float(str(row[f"prob_{name}"])), row[f"pred_{name}"] == 1
        bar = {"name": f"P({title})", "value": value, "classes": "chosen" if yes else ""}
        own = f"threshold {decision.threshold:.3g} ({decision.rule})" if decision.rule else ""
        return {
            "title": title, "grade": None, "yes": yes, "bars": [bar], "note": "",
            "rule": own or "more probable than not",
        }  # fmt: skip
    chosen = int(str(row[f"pred_{name}"]))
    bars = [
        {"name": f"{title} {grade}", "value": value, "classes": "chosen" if grade == chosen else ""}
        for grade, value in enumerate(grades)
    ]
    note = ""
    if len(grades) == KL_GRADES:
        above = sum(grades[OA_FROM_GRADE:])
        bars.append({"name": f"P({title} ≥ {OA_FROM_GRADE})", "value": above, "classes": "apart"})
        if (above >= 0.5) != (chosen >= OA_FROM_GRADE) and grades[chosen] == max(grades):
            others = f"{OA_FROM_GRADE} to {KL_GRADES - 1}" if above >= 0.5 else f"0 to {OA_FROM_GRADE - 1}"
            note = f"{chosen} is the most probable single grade, but together {others} are more probable."
    severity = float(str(row[f"severity_{name}"]))
    if not note and abs(severity - chosen) >= 1:
        note = (
            f"Grade {chosen} follows the rule above, severity {severity:.2f} is the mean grade, weighted by "
            "probability. They differ because the probabilities are spread over several grades."
        )
    return {
        "title": title, "grade": chosen, "severity": severity, "top": len(grades) - 1, "bars": bars,
        "note": note, "rule": str(row.get(f"decoding_{name}", "most probable grade")),
    }  # fmt: skip


def _labels(row: Row) -> str:
    known = [
        f"{head_label(name.removeprefix('label_'))} {value}"
        for name, value in row.items()
        if name.startswith("label_") and value is not None
    ]
    return ", ".join(known)


def _looked_note(prediction: KneePrediction, options: Mapping[str, object]) -> str:
    saliency, row = prediction.saliency, prediction.row
    if saliency is None:
        return "The encoder has no feature map with a spatial grid: nothing to show but the scan."
    if saliency.strength <= 0:
        return "No location in the scan speaks for a higher grade: the map is zero everywhere."
    head = head_label(str(options["head"]))
    r, a, s = (float(str(row[f"peak_{name}_mm"])) for name in ("right", "anterior", "superior"))
    method = str(options["method"]).replace("_", " ")
    return (
        f"What speaks for a higher {head} severity ({method}), strongest at "
        f"{r:.1f} mm right, {a:.1f} anterior, {s:.1f} superior in the scanner's "
        "coordinates. A map of what this model uses, not of disease."
    )


def _placed(trained: TrainedModel, row: Row) -> list[tuple[str, str]]:
    if trained.reference is None:
        return []
    percentile, nearest = row["axis_percentile"], row["axis_nearest_grade"]
    level = float(str(row["ood_level"]))
    unusual = f"p = {_number(row['ood_p'], '.3f')}"
    return [
        ("More severe than", "unknown" if percentile is None else f"{float(str(percentile)):.0f} % of them"),
        ("Nearest mean of a grade on the axis", "unknown" if nearest is None else f"KL {nearest}"),
        ("Distance from them (about 1 is usual)", f"{_number(row['ood_distance'], '.2f')}, {unusual}"),
        (f"Unlike them (p ≤ {level:.3g})", "yes" if row["ood_flag"] == 1 else "no"),
    ]


def _origin_note(trained: TrainedModel) -> str:
    reference = trained.reference
    if reference is None:
        return ""
    how = (
        "embeddings made while training, with augmentation; oahier predict --reference makes better ones"
        if reference.origin == "training steps"
        else "embeddings made in evaluation mode"
    )
    return (
        f"{len(reference.embeddings)} training knees ({how}); axis: {reference.axis.kind}. p is the share of "
        f"knees like the {len(reference.held_out)} validation knees that lie as far away. A high p does not "
        "say that the grade is right."
    )


def _facts(trained: TrainedModel, loaded: LoadedScan, prediction: KneePrediction) -> list[tuple[str, str]]:
    grid, seen, decisions = loaded.image.source, loaded.seen, prediction.decisions
    shape, spacing = ("x".join(map(str, grid.shape)), " x ".join(f"{v:.2f}" for v in grid.spacing))
    network = "x".join(map(str, seen.shape)), " x ".join(f"{v:.2f}" for v in seen.spacing)
    steps = [
        *(["left knees mirrored"] if trained.preprocessing.mirror_left else []),
        *(["N4 bias correction"] if trained.preprocessing.bias_correction else []),
    ]
    return [
        ("Scan", f"{shape} voxels of {spacing} mm"),
        (
            "As the model sees it",
            f"{network[0]} voxels of {network[1]} mm" + "".join(f", {s}" for s in steps),
        ),
        ("Of that outside the scan", f"{100 * loaded.outside:.0f} %"),
        ("Model", f"{trained.path.name} ({type(trained.model.encoder).__name__})"),
        ("Hash of the model", trained.identity[:12]),
        *(("Decisions of", line) for line in ([] if decisions is None else decisions.describe())),
    ]
