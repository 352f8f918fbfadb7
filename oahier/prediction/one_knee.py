"""One knee through the network: what is predicted, where it looked, and where the knee lies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from oahier.clinical.decisions import Decisions, HeadDecision
from oahier.latent.training_knees import EmbeddingReference
from oahier.metrics import Decoding, MostProbable
from oahier.prediction.disagreement import disagreements
from oahier.prediction.geometry import cell_grid, middle_of, on_grid, to_millimetres
from oahier.prediction.loading import LoadedScan
from oahier.prediction.trained import TrainedModel
from oahier.saliency import TRUSTED, SaliencyMethod
from oahier.saliency.peak import peak_voxel
from oahier.saliency.tail import TailExplainer, head_to_explain
from oahier.types import KL_GRADES, MISSING, Batch, StepOutput

if TYPE_CHECKING:
    from oahier.model import HierarchicalClassifier

Row = dict[str, object]
"""Cells of a knee by column; ``None`` is an empty cell."""

NEIGHBOURS = 5
WARNING_BREAK = " | "
"""Between the warnings in a cell."""


@dataclass(frozen=True, eq=False)
class Saliency:
    """Where the network looked, on the grid of the scan (axes right, anterior, superior)."""

    values: Float32[np.ndarray, "i j k"]
    """Share of the maximum inside the scan; zero outside the network's field of view."""
    strength: float
    """The maximum inside the scan before scaling; 0 where nothing there speaks for the score."""
    peak: tuple[int, int, int] | None
    """The most salient voxel (:func:`oahier.saliency.peak.peak_voxel`); ``None`` where nothing is salient."""


@dataclass(frozen=True, eq=False)
class KneePrediction:
    """What is known of one knee."""

    row: Row
    embedding: Float32[np.ndarray, " features"]
    saliency: Saliency | None
    """``None`` for an encoder without maps, or where no saliency was asked for."""
    decisions: Decisions | None = None
    """Calibration and thresholds that were applied."""


def predict_knee(
    trained: TrainedModel, loaded: LoadedScan, *, head: str | None = None,
    method: SaliencyMethod | str = TRUSTED,
    explain: bool = True, decisions: Decisions | None = None, decoding: Decoding | None = None,
) -> KneePrediction:  # fmt: skip
    """Predict one knee and, if wanted, explain a head's severity.

    Args:
        trained: the model, in evaluation mode.
        loaded: the scan.
        head: name of the head to explain; by default the first with grades, or else the first.
        method: of the saliency, see :func:`~oahier.prediction.predict_scans`.
        explain: compute saliency.
        decisions: calibration and thresholds to apply.
        decoding: rule of the grade; the most probable one when not given.

    Raises:
        ValueError: no such head, or values that are not finite come out of the network.
    """
    model = trained.model
    name = head_to_explain(dict(model.heads.items()), head)
    batch = as_batch(loaded, next(model.parameters()).device)
    with torch.inference_mode():
        output = model.predict_step(batch, 0)
    embedding = output["embedding"].flatten(1).float().cpu()
    if not bool(embedding.isfinite().all()):
        raise ValueError(f"{loaded.scan.source}: the network's embedding of this scan is not finite")
    saliency = None
    if explain:
        explainer = TailExplainer(model, name, method=method)
        saliency = _explain(explainer, output, batch, loaded)
    return KneePrediction(
        _row(trained, loaded, output, embedding, saliency, decisions, decoding),
        embedding[0].numpy().copy(),
        saliency,
        decisions,
    )


def as_batch(loaded: LoadedScan, device: torch.device) -> Batch:
    """A batch of one knee without labels."""
    mri = torch.from_numpy(np.asarray(loaded.prepared.mri, dtype=np.float32).copy())[None, None]
    return Batch(
        mri=mri.to(device), targets={}, knee=[loaded.scan.knee], subject=[loaded.scan.subject],
        affine=torch.from_numpy(loaded.seen.affine.copy())[None],
    )  # fmt: skip


def _explain(
    explainer: TailExplainer, output: StepOutput, batch: Batch, loaded: LoadedScan
) -> Saliency | None:
    maps = output["features"]
    has_grid = bool(maps) and maps[-1].ndim == 5 and maps[-1][0, 0].numel() > 1
    if explainer.method.needs_grid and not has_grid:
        return None
    labels = torch.full((1,), MISSING, device=batch["mri"].device)
    with torch.no_grad(), torch.autocast(batch["mri"].device.type, enabled=False):
        coarse = explainer(maps, labels, batch["mri"], batch["knee"])[0].float().cpu().nan_to_num()
    strength = max(float(coarse.max()), 0.0)
    shares = (coarse / strength if strength > 0 else torch.zeros_like(coarse)).numpy()
    scan = loaded.image.grid
    values = on_grid(shares, cell_grid(loaded.seen, shares.shape), scan)
    highest = values.max()  # centres of cells lie between voxels, or outside the scan
    if highest <= 0:
        return Saliency(np.zeros_like(values), 0.0, None)
    values /= highest
    return Saliency(values, strength * float(highest), peak_voxel(values, middle_of(loaded.seen, scan)))


def _row(
    trained: TrainedModel, loaded: LoadedScan, output: StepOutput, embedding: Tensor,
    saliency: Saliency | None, decisions: Decisions | None, decoding: Decoding | None,
) -> Row:  # fmt: skip
    scan = loaded.scan
    row: Row = {"knee": scan.knee, "subject": scan.subject, "side": scan.side, "source": scan.source}
    warnings = [*loaded.warnings]
    row |= _predicted(trained.model, output, scan.labels, decisions, decoding or MostProbable())
    warnings += _disagreements(trained.model, row, decisions)
    if decisions is not None and decisions.fitted_subjects([scan.subject]):
        warnings.append(
            "calibration and thresholds were fitted on this subject: this says nothing of how good they are"
        )
    placed = _placed(trained.reference, embedding)
    if placed["ood_flag"] == 1:
        warnings.insert(0, unusual_warning(placed))
    row |= placed
    row["outside_share"] = loaded.outside
    place = [None, None, None]
    if saliency is not None and saliency.peak is not None:
        place = to_millimetres(loaded.image.grid, saliency.peak).tolist()
    row |= dict(zip(("peak_right_mm", "peak_anterior_mm", "peak_superior_mm"), place, strict=True))
    row["warnings"] = WARNING_BREAK.join(warnings)
    return row


def _predicted(
    model: HierarchicalClassifier, output: StepOutput, labels: Mapping[str, int],
    decisions: Decisions | None, decoding: Decoding,
) -> Row:  # fmt: skip
    """Labels, probabilities and decisions, in the columns of :class:`~oahier.PredictionWriter`."""
    rules = {name: HeadDecision.of(decisions, name) for name in output["probabilities"]}
    applied = {
        name: rule.apply(output["probabilities"][name].double().cpu().numpy()) for name, rule in rules.items()
    }
    graded = [name for name, (p, _) in applied.items() if p.shape[1] > 2]
    binary = [name for name, (p, _) in applied.items() if p.shape[1] == 2]
    row: Row = {f"label_{name}": labels.get(model.target_of(name)) for name in (*graded, *binary)}
    row |= {f"prob_{name}": float(applied[name][0][0, 1]) for name in binary}
    for name in graded:
        row |= {f"prob_{name}_{grade}": value for grade, value in enumerate(applied[name][0][0].tolist())}
    for name in graded:
        row[f"pred_{name}"] = int(decoding.decide(applied[name][0])[0])
        kept = rules[name].calibrator is None
        expected = applied[name][0][0] @ np.arange(applied[name][0].shape[1])
        row[f"severity_{name}"] = float(output["severity"][name][0] if kept else expected)
    row |= {f"pred_{name}": int(applied[name][1][0]) for name in binary}
    row |= {f"decoding_{name}": decoding.name for name in graded}
    return row


def _disagreements(model: HierarchicalClassifier, row: Row, decisions: Decisions | None) -> list[str]:
    """Contradictions of the first head of each level."""
    hierarchy = model.hierarchy
    heads: dict[str, tuple[list[float], int]] = {}
    thresholds: dict[str, float] = {}
    for name in model.heads:
        level, p = model.target_of(name), grade_columns(row, name)
        if not p and isinstance(above := row.get(f"prob_{name}"), float):
            p = [1 - above, above]
        if hierarchy.is_level(level, len(p)):
            heads.setdefault(level, (p, int(str(row[f"pred_{name}"]))))
            thresholds.setdefault(level, HeadDecision.of(decisions, name).threshold)
    return disagreements(hierarchy, heads, thresholds)


def _placed(reference: EmbeddingReference | None, embedding: Tensor) -> Row:
    columns = (
        "axis", "axis_percentile", "axis_nearest_grade", "neighbour_grades", "ood_distance", "ood_p",
        "ood_level", "ood_flag",
    )  # fmt: skip
    if reference is None:
        return dict.fromkeys(columns)
    place = reference.place(embedding, neighbours=NEIGHBOURS)
    grades = [int(reference.kl[row]) for row in place.neighbours[0].tolist()]
    nearest = int(place.nearest_grade[0])
    values: tuple[object, ...] = (
        _number(place.axis), _number(place.percentile), None if nearest == MISSING else nearest,
        " ".join("?" if grade == MISSING else str(grade) for grade in grades),
        _number(place.distance), _number(place.p), reference.level, int(place.unusual[0]),
    )  # fmt: skip
    return dict(zip(columns, values, strict=True))


def unusual_warning(row: Mapping[str, object]) -> str:
    """The warning of a knee that lies further from the training knees than held-out knees do."""
    return (
        f"unlike the training knees: at most {100 * float(str(row['ood_p'])):.1f} % of knees of their kind "
        "lie as far from them; do not rely on the grade"
    )


def _number(value: Tensor) -> float | None:
    number = float(value[0])
    return number if math.isfinite(number) else None


def grade_columns(row: Mapping[str, object], head: str) -> list[float]:
    """Probabilities of the grades of a head; empty for a head without grades.

    >>> grade_columns({"prob_kl_0": 0.9, "prob_kl_1": 0.1, "prob_oa": 0.2}, "kl")
    [0.9, 0.1]
    """
    found = []
    for grade in range(10 * KL_GRADES):
        value = row.get(f"prob_{head}_{grade}")
        if not isinstance(value, float):
            break
        found.append(value)
    return found


def warnings_of(row: Mapping[str, object]) -> list[str]:
    """The warnings in a row.

    >>> warnings_of({"warnings": "one | two"}), warnings_of({"warnings": ""})
    (['one', 'two'], [])
    """
    return [part for part in str(row["warnings"] or "").split(WARNING_BREAK) if part]
