"""Knees, batches, saliency and the severity axis as figures of matplotlib, for notebooks.

Each function draws what the callbacks draw, into axes of pyplot or those that are given, and returns them.
Nothing names a knee: captions have labels only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from oahier.callbacks.axis_figure import draw_rows
from oahier.callbacks.saliency_figure import Plane, cut_planes, draw_plane, for_display
from oahier.hierarchy import FINE
from oahier.modes import evaluating
from oahier.saliency import SaliencyMethod, as_method, default_methods, resample
from oahier.saliency.tail import TailExplainer, head_to_explain
from oahier.types import CARTILAGE_LABELS, KL_GRADES, MISSING, Batch, is_known

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    from oahier.model import HierarchicalClassifier

__all__ = ["batch", "knee", "saliency", "severity_axis"]


def knee(knees: Batch, row: int = 0, *, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """A sagittal, a coronal and an axial slice of a knee, with its cartilage outlined.

    Args:
        knees: a batch of the data module.
        row: index of the knee.
        axes: three to draw into; new ones when not given.
    """
    drawn = _axes(3, axes)
    for one, plane in zip(drawn, _planes(knees, row), strict=True):
        draw_plane(one, plane, heat=False)
    drawn[0].set_title(_labels(knees, row), fontsize=9, loc="left")
    return drawn


def batch(knees: Batch, count: int = 8, *, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Sagittal slices of the first knees of a batch with their labels.

    Args:
        knees: a batch of the data module.
        count: at most so many knees.
        axes: one a knee; new ones, four in a row, when not given.
    """
    drawn = _axes(min(count, len(knees["mri"])), axes, across=4)
    for row, one in enumerate(drawn):
        draw_plane(one, _planes(knees, row)[0], heat=False)
        one.set_title(_labels(knees, row), fontsize=9, loc="left")
    return drawn


def saliency(
    model: HierarchicalClassifier,
    knees: Batch,
    row: int = 0,
    *,
    head: str | None = None,
    method: str | SaliencyMethod | None = None,
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:
    """Where a head's severity comes from, over three slices of a knee.

    Args:
        model: its weights, mode and gradients stay as they are.
        knees: a batch of the data module.
        row: index of the knee.
        head: which to explain; the first with grades when not given.
        method: a name or an instance (:mod:`oahier.saliency`); that of tests when not given.
        axes: three to draw into; new ones when not given.
    """
    heads: Mapping[str, Any] = dict(model.heads.items())
    name = head_to_explain(heads, head)
    explained = default_methods()[1] if method is None else as_method(method)
    with evaluating(model), torch.no_grad():
        mri = knees["mri"][row : row + 1].to(next(model.parameters()).device)
        labels = knees["targets"].get(model.target_of(name), torch.full((len(knees["mri"]),), MISSING))
        explain = TailExplainer(model, name, method=explained)
        maps = explain(
            model.encoder.features(mri),
            labels[row : row + 1].to(mri.device),
            mri,
            knees["knee"][row : row + 1],
        )
    heat = for_display(resample(maps.float(), mri.shape[2:])[0].cpu().numpy())
    drawn = _axes(3, axes)
    for one, plane in zip(drawn, _planes(knees, row, heat), strict=True):
        draw_plane(one, plane, heat=True)
    drawn[0].set_title(f"{_labels(knees, row)}; {explained} of head {name}", fontsize=9, loc="left")
    return drawn


def severity_axis(run: str | Path | pd.DataFrame, split: str = "test", *, axes: Axes | None = None) -> Axes:
    """Knees of a split along the severity axis, a row a grade.

    Args:
        run: folder of a run that was tested with :class:`~oahier.SeverityAxis`, its ``severity_axis.csv``, or
            that table.
        split: ``"train"``, ``"val"`` or ``"test"``.
        axes: to draw into; new ones when not given.

    Raises:
        ValueError: no knee of the split is in the table.
    """
    if not isinstance(run, pd.DataFrame):
        path = Path(run)
        run = pd.read_csv(path / "severity_axis.csv" if path.is_dir() else path)
    shown = run[run["split"] == split]
    if shown.empty:
        raise ValueError(f"severity_axis: expected a split among {sorted(set(run['split']))}, got {split!r}")
    grades = shown[FINE].fillna(MISSING).to_numpy(dtype=np.int64)
    (drawn,) = _axes(1, None if axes is None else [axes])
    present = [grade for grade in (MISSING, *range(KL_GRADES)) if (grades == grade).any()]
    draw_rows(drawn, shown["projection"].to_numpy(), grades, present)
    drawn.set_xlabel("coordinate along the axis (severity increases to the right)", fontsize=9)
    drawn.spines[["top", "right"]].set_visible(False)
    return drawn


def _planes(knees: Batch, row: int, heat: npt.NDArray[np.float32] | None = None) -> tuple[Plane, ...]:
    mri = knees["mri"][row, 0].float().cpu()
    labels = knees.get("cartilage")
    inside = torch.zeros_like(mri) if labels is None else labels[row, 0].cpu()
    cartilage = np.isin(inside.numpy(), CARTILAGE_LABELS)
    shown = np.zeros(mri.shape, np.float32) if heat is None else heat
    return cut_planes(mri.numpy(), shown, cartilage, knees["affine"][row].double().cpu().numpy())


def _labels(knees: Batch, row: int) -> str:
    known = {name: column[row] for name, column in knees["targets"].items() if bool(is_known(column[row]))}
    return ", ".join(f"{name.upper()} {value.item():g}" for name, value in known.items()) or "no label"


def _axes(count: int, given: Sequence[Axes] | None, across: int = 3) -> list[Axes]:
    if given is not None:
        if len(given) != count:
            raise ValueError(f"axes: expected {count}, got {len(given)}")
        return list(given)
    import matplotlib.pyplot as plt

    columns = min(count, across)
    rows = -(-count // columns)
    _, made = plt.subplots(
        rows, columns, figsize=(3.2 * columns if count > 1 else 6, 3.3 * rows), squeeze=False
    )
    for spare in made.flat[count:]:
        spare.set_axis_off()
    return list(made.flat[:count])
