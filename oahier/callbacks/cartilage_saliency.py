"""Where a model looks, compared with where the cartilage is, each epoch."""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import lightning as L
import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from oahier.analysis import (
    dilate,
    iou_bound,
    mask_footprint,
    mass_in_other_masks,
    resample,
    saliency_overlap,
)
from oahier.callbacks.batch_recorder import BatchRecorder, log_group
from oahier.callbacks.files import write_atomically, write_figure, write_rows
from oahier.callbacks.keys import Stage, metric_key, stage_directory
from oahier.callbacks.loggers import log_picture
from oahier.callbacks.records import EpochTable
from oahier.callbacks.saliency_picture import KneePicture, cut_planes, saliency_picture
from oahier.callbacks.tail import Explained, SaliencyMethod, TailExplainer, head_to_explain
from oahier.types import CARTILAGE_LABELS, MISSING, StepOutput

_log = logging.getLogger("oahier.cartilage_saliency")
_LARGEST_GRID = 32_768
"""Cells of a feature grid up to which maps are kept over an epoch for the shuffled-mask control."""
_SEED = 0


class CartilageSaliency(BatchRecorder):
    """Explains each validation, test and prediction batch and measures the overlap with the cartilage.

    Class activation maps are computed on the tail of the network from the feature maps of the step, so the
    encoder is not run again; ``method="smoothgrad"`` does run it, eight times forwards and backwards.

    Logs ``{stage}/saliency/...``, the means over the knees for which a measure is defined (``knees`` counts
    those with saliency and cartilage, ``zero_maps`` the knees whose map is zero because nothing speaks for
    the score or it is saturated). Writes ``saliency.csv`` with all measures a knee and
    ``pictures/saliency.png`` into the folder of the stage. Beside the measures of
    :func:`oahier.analysis.saliency_overlap` there are

    - ``iou_bound``: what the feature grid allows (:func:`oahier.analysis.iou_bound`);
    - ``mass_in_other_cartilage``, ``enrichment_in_other_cartilage``: the same map against the masks of all
      other knees of the epoch (:func:`oahier.analysis.mass_in_other_masks`); what is left above them is due
      to *this* knee's cartilage;
    - ``iou_randomised``, ``mass_in_cartilage_randomised``, ``enrichment_randomised`` on request: the same
      with weights of the heads drawn anew.

    Knees without cartilage get NaN. An encoder without a spatial map is left alone, with a message.

    Args:
        head: name of the head to explain; by default the first with grades, or else the first.
        score: its ``"severity"``, or the ``"predicted"`` or ``"true"`` class.
        method: ``"gradcam"``, a relative of it, or ``"smoothgrad"`` (times input, absolute value).
        stage: feature map to explain; -1 is the coarsest, earlier ones resolve more.
        labels: ids of the label map that count as cartilage.
        dilation: millimetres by which the cartilage is grown (slow).
        pictures: number of knees in the picture, the first by knee id.
        randomised: also compute the randomised-weights control.
        save_maps: also write each knee's saliency to ``saliency/{knee}.nii.gz``.
    """

    def __init__(
        self,
        head: str | None = None,
        *,
        score: Explained = "severity",
        method: SaliencyMethod = "gradcam",
        stage: int = -1,
        labels: Sequence[int] = CARTILAGE_LABELS,
        dilation: float = 0.0,
        pictures: int = 3,
        randomised: bool = False,
        save_maps: bool = False,
    ) -> None:
        super().__init__()
        if dilation < 0 or pictures < 0:
            raise ValueError(
                "CartilageSaliency: expected dilation >= 0 and pictures >= 0, "
                f"got dilation={dilation} and pictures={pictures}"
            )
        self.head, self.score, self.method, self.stage = head, score, method, stage
        self.labels, self.dilation, self.pictures = tuple(labels), dilation, pictures
        self.randomised, self.save_maps = randomised, save_maps
        self._pictures: dict[str, KneePicture] = {}
        self._bounds: dict[tuple[object, ...], float] = {}
        self._grid: tuple[int, ...] = ()
        self._noticed = False

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        head_to_explain(_heads(pl_module), self.head)

    @override
    def record(
        self, trainer: L.Trainer, pl_module: L.LightningModule, output: StepOutput, batch: Mapping[str, Any]
    ) -> None:
        if self.method != "smoothgrad" and not self._has_grid(output["features"], trainer):
            return
        with torch.no_grad(), torch.autocast(output["embedding"].device.type, enabled=False):
            maps = self._explain(pl_module, output, batch)
            peak = maps.flatten(1).amax(dim=1)
            unit = _relative_to(maps, peak)
            cartilage = self._cartilage(batch)
            volume = resample(unit, batch["mri"].shape[2:])
            columns = self._measure(volume, cartilage, unit.shape[1:], output["knee"])
            columns |= {"peak": peak.double(), **self._for_control(unit, cartilage)}
            if self.randomised:
                control = self._explain(pl_module, output, batch, random_seed=_SEED)
                control = resample(
                    _relative_to(control, control.flatten(1).amax(dim=1)), batch["mri"].shape[2:]
                )
                overlap = saliency_overlap(control, cartilage, top_percent=())
                names = ("iou", "mass_in_cartilage", "enrichment")
                columns |= {f"{name}_randomised": overlap[name] for name in names}
        self._records.add(knee=output["knee"], subject=output["subject"], **columns)
        self._keep_pictures(output, batch, volume, cartilage, columns)
        if self.save_maps:
            self._save(
                trainer, output["knee"], volume * peak.to(volume)[:, None, None, None], batch["affine"]
            )

    @override
    def finish(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: Stage, table: EpochTable
    ) -> None:
        pictures = self._gather_pictures(trainer)
        if len(table) == 0:
            return
        columns = _with_control(table)
        log_group(pl_module, stage, "saliency", _summary(columns))
        if not trainer.is_global_zero:
            return
        folder = stage_directory(trainer, stage)
        rows = zip(table.knee, table.subject, *(column.tolist() for column in columns.values()), strict=True)
        write_rows(folder / "saliency.csv", ["knee", "subject", *columns], rows)
        if pictures:
            name = head_to_explain(_heads(pl_module), self.head)
            title = f"Saliency ({self.method}, {self.score} of head {name}), {stage}; cartilage outlined"
            figure = saliency_picture(pictures, title)
            path = write_figure(folder / "pictures" / "saliency.png", figure)
            log_picture(trainer, metric_key(stage, "saliency", "saliency"), path)

    def _has_grid(self, features: Sequence[Tensor], trainer: L.Trainer) -> bool:
        if features and features[-1].ndim == 5 and features[-1][0, 0].numel() > 1:
            return True
        if trainer.is_global_zero and not self._noticed:
            _log.warning(
                "CartilageSaliency: the encoder has no feature map with a spatial grid at this volume size: "
                "nothing to explain. Use a larger volume, an encoder with maps, or method='smoothgrad'"
            )
        self._noticed = True
        return False

    def _explain(
        self,
        pl_module: L.LightningModule,
        output: StepOutput,
        batch: Mapping[str, Any],
        random_seed: int | None = None,
    ) -> Tensor:
        name = head_to_explain(_heads(pl_module), self.head)
        explainer = TailExplainer(
            pl_module, name, score=self.score, method=self.method, stage=self.stage, random_seed=random_seed
        )
        return explainer(output["features"], output["targets"][name], batch["mri"], output["knee"])

    def _cartilage(self, batch: Mapping[str, Any]) -> Tensor:
        """``(batch, i, j, k)`` boolean; empty for a knee without a label map."""
        if "cartilage" not in batch:
            shape = (len(batch["mri"]), *batch["mri"].shape[2:])
            return torch.zeros(shape, dtype=torch.bool, device=batch["mri"].device)
        ids = batch["cartilage"][:, 0]
        inside = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
        for label in self.labels:
            inside |= ids == label
        if self.dilation > 0:
            spacing = batch["affine"][:, :3, :3].norm(dim=1)
            inside = dilate(inside, spacing.cpu().double(), self.dilation)
        return inside

    def _measure(
        self, volume: Tensor, cartilage: Tensor, grid: Sequence[int], knees: Sequence[str]
    ) -> dict[str, Tensor]:
        measures = saliency_overlap(volume, cartilage)
        share = cartilage.flatten(1).double().mean(dim=1)
        measures["cartilage_share"] = share.masked_fill(share == 0, math.nan)
        measures["iou_bound"] = self._bound(cartilage, share, grid, knees).to(share)
        return measures

    def _bound(self, cartilage: Tensor, share: Tensor, grid: Sequence[int], knees: Sequence[str]) -> Tensor:
        """The bound depends on the mask and the grid alone: computed when a knee is first seen."""
        keys = [(knee, *grid, size) for knee, size in zip(knees, share.tolist(), strict=True)]
        new = [row for row, key in enumerate(keys) if key not in self._bounds]
        if new:
            for row, bound in zip(new, iou_bound(cartilage[new], grid).tolist(), strict=True):
                self._bounds[keys[row]] = bound
        return torch.tensor([self._bounds[key] for key in keys])

    def _for_control(self, unit: Tensor, cartilage: Tensor) -> dict[str, Tensor]:
        """What the shuffled-mask control needs; NaN for a large grid, or one unlike that of other batches."""
        grid = tuple(unit.shape[1:])
        self._grid = self._grid or (grid if math.prod(grid) <= _LARGEST_GRID else (1, 1, 1))
        shape = torch.tensor(cartilage.shape[1:], device=unit.device).expand(len(unit), 3)
        if grid != self._grid:
            unit = torch.full((len(unit), *self._grid), math.nan, device=unit.device)
            return {"shape": shape, "map": unit, "footprint": unit}
        return {"shape": shape, "map": unit, "footprint": mask_footprint(cartilage, grid)}

    def _keep_pictures(
        self,
        output: StepOutput,
        batch: Mapping[str, Any],
        volume: Tensor,
        cartilage: Tensor,
        columns: Mapping[str, Tensor],
    ) -> None:
        """Cut slices of the knees that are among the first by id so far."""
        wanted = sorted({*self._pictures, *output["knee"]})[: self.pictures]
        for row, knee in enumerate(output["knee"]):
            if knee in wanted:
                parts = (
                    batch["mri"][row, 0].float(),
                    volume[row].float(),
                    cartilage[row],
                    batch["affine"][row],
                )
                planes = cut_planes(*(part.cpu().numpy() for part in parts))
                self._pictures[knee] = KneePicture(knee, _caption(knee, row, output, columns), planes)
        self._pictures = {knee: self._pictures[knee] for knee in wanted}

    def _gather_pictures(self, trainer: L.Trainer) -> list[KneePicture]:
        """The first pictures by knee id over all processes; called on every process."""
        kept, self._pictures = self._pictures, {}
        if trainer.world_size > 1:
            parts: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, kept)
            kept = {knee: picture for part in parts for knee, picture in part.items()}
        return [kept[knee] for knee in sorted(kept)[: self.pictures]]

    def _save(self, trainer: L.Trainer, knees: Sequence[str], volume: Tensor, affine: Tensor) -> None:
        import nibabel as nib

        folder = stage_directory(trainer) / "saliency"
        arrays = volume.float().cpu().numpy(), affine.double().cpu().numpy()
        for knee, values, geometry in zip(knees, *arrays, strict=True):
            content = gzip.compress(nib.Nifti1Image(values, geometry).to_bytes(), mtime=0)
            write_atomically(folder / f"{quote(knee, safe='')}.nii.gz", content)


def _heads(pl_module: L.LightningModule) -> Mapping[str, Any]:
    heads = getattr(pl_module, "heads", None)
    if heads is None or not hasattr(pl_module, "encoder"):
        raise TypeError(
            "CartilageSaliency: expected a model with an encoder and heads (oahier.HierarchicalClassifier), "
            f"got {type(pl_module).__name__}"
        )
    return dict(heads.items())


def _with_control(table: EpochTable) -> dict[str, Tensor]:
    """The columns to report, with those of the shuffled-mask control."""
    columns = {name: table[name] for name in table if name not in ("shape", "map", "footprint")}
    shape = table["shape"][0]
    usable = (table["shape"] == shape).all(dim=1) & ~columns["cartilage_share"].isnan()
    mass, enrichment = mass_in_other_masks(
        table["map"], table["footprint"], torch.where(usable, columns["cartilage_share"], 0.0), shape.tolist()
    )
    columns["mass_in_other_cartilage"] = mass.masked_fill(~usable, math.nan)
    columns["enrichment_in_other_cartilage"] = enrichment.masked_fill(~usable, math.nan)
    return columns


def _relative_to(maps: Tensor, peak: Tensor) -> Tensor:
    """Maps over their maximum, float32; measures do not depend on the scale."""
    scale = torch.where(peak > 0, peak, 1.0)
    return (maps / scale.view(-1, *(1,) * (maps.ndim - 1))).float()


def _summary(columns: Mapping[str, Tensor]) -> dict[str, float]:
    values = {
        name: float(np.nanmean(column)) if bool((~column.isnan()).any()) else math.nan
        for name, column in columns.items()
        if name != "peak"
    }
    values["knees"] = float((~columns["mass_in_cartilage"].isnan()).sum())
    values["zero_maps"] = float((columns["peak"] == 0).sum())
    return values


def _caption(knee: str, row: int, output: StepOutput, columns: Mapping[str, Tensor]) -> str:
    parts = [knee]
    for name, labels in output["targets"].items():
        label, severity = int(labels[row]), float(output["severity"][name][row])
        parts.append(f"{name}: true {'?' if label == MISSING else label}, predicted {severity:.2f}")
    named = {"mass in cartilage": "mass_in_cartilage", "enrichment": "enrichment", "IoU": "iou"}
    values = {label: float(columns[name][row]) for label, name in named.items()}
    parts += [f"{label} {value:.2f}" for label, value in values.items() if not math.isnan(value)]
    if float(columns["peak"][row]) == 0:
        parts.append("no saliency")
    return "    ".join(parts)
