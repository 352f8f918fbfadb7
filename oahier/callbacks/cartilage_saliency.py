"""Saliency of each epoch, compared with the cartilage."""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import lightning as L
import torch
from torch import Tensor
from typing_extensions import override

from oahier.callbacks.files import knee_file, write_atomically, write_figure, write_rows
from oahier.callbacks.keys import Stage, metric_key, stage_directory
from oahier.callbacks.loggers import log_picture
from oahier.callbacks.regions import Region, Regions
from oahier.callbacks.saliency_columns import SaliencyColumns, summary, with_other_masks
from oahier.callbacks.saliency_figure import KneePicture, cut_planes, saliency_picture
from oahier.callbacks.step_recorder import StepRecorder
from oahier.gathering import EpochTable, gathering_of
from oahier.saliency.tail import Explained, SaliencyMethod, TailExplainer, head_to_explain
from oahier.types import CARTILAGE_LABELS, MISSING, StepOutput

_log = logging.getLogger("oahier.cartilage_saliency")
_SEED = 0


class CartilageSaliency(StepRecorder):
    """Explains each validation, test and prediction batch and measures the overlap with the cartilage.

    Class activation maps are computed on the tail of the network from the feature maps of the step, so the
    encoder is not run again; ``method="smoothgrad"`` does run it, eight times forwards and backwards.

    Logs ``{stage}/saliency/...``, the means over the knees for which a measure is defined (``knees`` counts
    those with saliency and cartilage, ``zero_maps`` the knees whose map is zero because nothing speaks for
    the score or it is saturated). Writes ``saliency.csv`` with all measures a knee and
    ``pictures/saliency.png`` into the folder of the stage. Beside the measures of
    :func:`oahier.saliency.saliency_overlap` there are

    - ``iou_bound``: what the feature grid allows (:func:`oahier.saliency.iou_bound`);
    - ``mass_in_other_cartilage``, ``enrichment_in_other_cartilage``: the same map against the masks of all
      other knees of the epoch (:func:`oahier.saliency.mass_in_other_masks`); what is left above them is due
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
        figures: number of knees in the figure, the first by knee id.
        randomised: also compute the randomised-weights control.
        save_maps: also write the saliency of every knee, or of those named, to ``{name}/{knee}.nii.gz``.
        name: of what is logged and written, so that several of these callbacks can stand side by side, for
            example ``"saliency/smoothgrad"``.
        figure_every_n_epochs: during training, draw in every n-th epoch and at the end; 0 draws none. Test
            and prediction pictures are always drawn.

    Raises:
        ValueError: an unknown head, a negative number, or several dataloaders in a stage.
        TypeError: a model without encoder and heads.
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
        figures: int = 3,
        randomised: bool = False,
        save_maps: bool | Sequence[str] = False,
        name: str = "saliency",
        figure_every_n_epochs: int = 5,
    ) -> None:
        super().__init__(name=name, figure_every_n_epochs=figure_every_n_epochs)
        if dilation < 0 or figures < 0:
            raise ValueError(
                "CartilageSaliency: expected dilation >= 0 and figures >= 0, "
                f"got dilation={dilation} and figures={figures}"
            )
        parts = name.split("/")
        if not all(part and not part.startswith(".") and "\\" not in part for part in parts):
            raise ValueError(f"CartilageSaliency: name: expected a relative path, got {name!r}")
        self.head, self.score, self.method, self.stage = head, score, method, stage
        self.figures, self.randomised, self.save_maps = figures, randomised, save_maps
        self._columns, self._regions = SaliencyColumns(), Regions(labels, dilation)
        self._pictures: dict[str, KneePicture] = {}
        self._noticed = False

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        head_to_explain(_heads(pl_module), self.head)
        self._pictures = {}
        self._regions.clear()

    @override
    def collect(
        self, trainer: L.Trainer, pl_module: L.LightningModule, output: StepOutput, batch: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        if self.method != "smoothgrad" and not self._has_grid(output["features"], trainer):
            return {}
        with torch.no_grad(), torch.autocast(output["embedding"].device.type, enabled=False):
            maps, shape = self._explain(pl_module, output, batch), batch["mri"].shape[2:]
            grid = maps.shape[1:]
            footprints = self._columns.has_control(grid)
            regions = self._regions(batch, output["knee"], grid, footprints=footprints)
            volume, columns = self._columns.measure(maps, regions, shape)
            if self.randomised:
                control = self._explain(pl_module, output, batch, random_seed=_SEED)
                columns |= self._columns.randomised(control, regions, shape)
        self._keep_pictures(output, batch, volume, regions, columns)
        if self.save_maps:
            scale = columns["peak"].view(-1, 1, 1, 1)
            self._save(trainer, output["knee"], volume * scale, batch["affine"])
        return columns

    @override
    def finish(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: Stage, table: EpochTable
    ) -> None:
        pictures = self._gather_pictures(trainer)
        table = gathering_of(trainer).table(trainer, self.name, alone=True)
        if len(table) == 0:
            return
        columns = with_other_masks(table)
        self.log_values(pl_module, stage, summary(columns))
        if not trainer.is_global_zero:
            return
        folder = stage_directory(trainer, stage)
        rows = zip(table.knee, table.subject, *(column.tolist() for column in columns.values()), strict=True)
        write_rows(folder / f"{self.name}.csv", ["knee", "subject", *columns], rows)
        if pictures:
            name = head_to_explain(_heads(pl_module), self.head)
            outlined = any(plane.cartilage.any() for picture in pictures for plane in picture.planes)
            title = f"Saliency ({self.method}, {self.score} of head {name}), {stage}"
            title += "; cartilage outlined" if outlined else ""
            self.draw(trainer, partial(_draw_pictures, trainer, stage, self.name, pictures, title))

    def _has_grid(self, features: Sequence[Tensor], trainer: L.Trainer) -> bool:
        if features:
            explained = features[self.stage] if -len(features) <= self.stage < len(features) else features[-1]
            if explained.ndim == 5 and explained[0, 0].numel() > 1:
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

    def _keep_pictures(
        self,
        output: StepOutput,
        batch: Mapping[str, Any],
        volume: Tensor,
        regions: Sequence[Region],
        columns: Mapping[str, Tensor],
    ) -> None:
        """Cut slices of the knees that are among the first by id so far."""
        wanted = sorted({*self._pictures, *output["knee"]})[: self.figures]
        for row, knee in enumerate(output["knee"]):
            if knee in wanted:
                parts = (
                    batch["mri"][row, 0].float(),
                    volume[row].float(),
                    regions[row].mask(volume.shape[1:]),
                    batch["affine"][row].double(),
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
        return [kept[knee] for knee in sorted(kept)[: self.figures]]

    def _save(self, trainer: L.Trainer, knees: Sequence[str], volume: Tensor, affine: Tensor) -> None:
        import nibabel as nib

        folder = stage_directory(trainer) / self.name
        arrays = volume.float().cpu().numpy(), affine.double().cpu().numpy()
        for knee, values, geometry in zip(knees, *arrays, strict=True):
            if not isinstance(self.save_maps, bool) and knee not in self.save_maps:
                continue
            content = gzip.compress(nib.Nifti1Image(values, geometry).to_bytes(), mtime=0)
            write_atomically(folder / f"{knee_file(knee)}.nii.gz", content)


def _draw_pictures(
    trainer: L.Trainer, stage: Stage, name: str, pictures: Sequence[KneePicture], title: str
) -> None:
    path = stage_directory(trainer, stage) / "pictures" / f"{name}.png"
    log_picture(
        trainer, metric_key(stage, name, "saliency"), write_figure(path, saliency_picture(pictures, title))
    )


def _heads(pl_module: L.LightningModule) -> Mapping[str, Any]:
    heads = getattr(pl_module, "heads", None)
    if heads is None or not hasattr(pl_module, "encoder"):
        raise TypeError(
            "CartilageSaliency: expected a model with an encoder and heads (oahier.HierarchicalClassifier), "
            f"got {type(pl_module).__name__}"
        )
    return dict(heads.items())


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
