"""Saliency of each epoch, compared with the cartilage and with its floors."""

from __future__ import annotations

import gzip
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from typing_extensions import override

from oahier.callbacks.files import knee_file, write_atomically, write_figure, write_rows
from oahier.callbacks.keys import Stage, metric_key, stage_directory
from oahier.callbacks.loggers import log_picture
from oahier.callbacks.regions import Region, Regions
from oahier.callbacks.saliency_columns import SaliencyColumns, summary, verdict, with_other_masks
from oahier.callbacks.saliency_figure import KneePicture, cut_planes, for_display, saliency_picture
from oahier.callbacks.step_recorder import StepRecorder
from oahier.gathering import EpochTable, gathering_of
from oahier.progress import portion
from oahier.saliency import SaliencyMethod, as_method, default_methods, random_weights
from oahier.saliency.tail import Explained, TailExplainer, head_to_explain
from oahier.types import CARTILAGE_LABELS, MISSING, StepOutput

_log = logging.getLogger("oahier.cartilage_saliency")
_SEED = 0


class CartilageSaliency(StepRecorder):
    """Explains each validation, test and prediction batch and measures the overlap with the cartilage.

    While a model trains, validations are explained by a map that costs no pass through the encoder; test and
    prediction by the method that was found to be trustworthy for the encoder on phantoms whose disease is
    known (:func:`oahier.saliency.default_methods`, docs/concepts/saliency-truth.md). Table, figure and a log
    message say which it was, and outside training whether its enrichment is above all of its floors.

    Logs ``{stage}/saliency/...``, the means over the knees for which a metric is defined (``knees`` counts
    those with saliency and cartilage, ``zero_maps`` the knees whose map is zero because nothing speaks for
    the score or it is saturated). Writes ``saliency.csv`` with all metrics a knee and
    ``pictures/saliency.png`` into the folder of the stage. Beside the metrics of
    :func:`oahier.saliency.saliency_overlap` there are

    - ``iou_bound``: what the feature grid allows (:func:`oahier.saliency.iou_bound`);
    - ``mass_in_other_cartilage``, ``enrichment_in_other_cartilage``: the same map against the masks of all
      other knees of the epoch (:func:`oahier.saliency.mass_in_other_masks`);
    - outside training ``auroc``, ``auprc``, ``peak_mm`` (:mod:`oahier.saliency.ranking`), and
      ``..._of_image`` of the positive voxels of the MRI;
    - ``..._randomised``: with all weights of the network drawn anew (in the test, or as ``randomised`` says).

    Knees without cartilage get NaN. An encoder without a spatial map is left alone, with a message, where the
    method needs one.

    Args:
        head: name of the head to explain; by default the first with grades, or else the first.
        score: its ``"severity"``, or the ``"predicted"`` or ``"true"`` class.
        method: a :class:`~oahier.saliency.SaliencyMethod` or the name of one
            (:data:`oahier.saliency.METHODS`), for every stage; the defaults above when not given.
        stage: feature map to explain, by ``method`` or Grad-CAM; -1 is the coarsest, others resolve more.
        labels: ids of the label map that count as cartilage.
        dilation: millimetres by which the cartilage is grown (slow).
        figures: number of knees in the figure, the first by knee id.
        randomised: compute the control of random weights, which costs a forward pass and the saliency once
            more; by default in the test only.
        save_maps: also write the saliency of every knee, or of those named, to ``{name}/{knee}.nii.gz``.
        name: of what is logged and written, so that several of these callbacks can stand side by side, for
            example ``"saliency/smoothgrad"``.
        figure_every_n_epochs: during training, draw in every n-th epoch and at the end; 0 draws none. Test
            and prediction figures are always drawn.

    Raises:
        ValueError: an unknown head or method, a negative number, or several dataloaders in a stage.
        TypeError: a model without encoder and heads.
    """

    def __init__(
        self,
        head: str | None = None,
        *,
        score: Explained = "severity",
        method: SaliencyMethod | str | None = None,
        stage: int = -1,
        labels: Sequence[int] = CARTILAGE_LABELS,
        dilation: float = 0.0,
        figures: int = 3,
        randomised: bool | None = None,
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
        self.head, self.score, self.stage = head, score, stage
        given = "gradcam" if method is None and stage != -1 else method
        self.method = None if given is None else as_method(given)
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
        self._columns = SaliencyColumns()

    @override
    def collect(
        self, trainer: L.Trainer, pl_module: L.LightningModule, output: StepOutput, batch: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        method = self._method(trainer)
        if method.needs_grid and not self._has_grid(output["features"], trainer):
            return {}
        testing = trainer.state.fn != TrainerFn.FITTING
        twice = trainer.testing if self.randomised is None else self.randomised
        with torch.no_grad(), torch.autocast(output["embedding"].device.type, enabled=False):
            with portion(0, 0.5 if twice else 1):
                maps, shape = self._explain(pl_module, output, batch, method), batch["mri"].shape[2:]
            grid = maps.shape[1:]
            regions = self._regions(batch, output["knee"], grid, self._columns.control_grid(grid))
            volume, columns = self._columns.measure(maps, regions, shape)
            drawn = None
            if twice:
                with portion(0.5, 1):
                    drawn = self._explain(pl_module, output, batch, method, random=True)
            if testing or drawn is not None:
                columns |= self._columns.floors(batch["mri"][:, 0].float(), drawn, regions, shape)
            if testing:
                spacing = batch["affine"][:, :3, :3].float().norm(dim=1)
                columns |= self._columns.ranks(volume, regions, spacing)
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
        folder, method = stage_directory(trainer, stage), self._method(trainer)
        values = ([str(method)] * len(table), *(column.tolist() for column in columns.values()))
        rows = zip(table.knee, table.subject, *values, strict=True)
        write_rows(folder / f"{self.name}.csv", ["knee", "subject", "method", *columns], rows)
        name = head_to_explain(_heads(pl_module), self.head)
        told = f"Saliency ({method}, {self.score} of head {name}), {stage}"
        found = "" if trainer.state.fn == TrainerFn.FITTING else verdict(columns, table.subject)
        if found:
            self.told = f"{self.name} by {method} ({method.passes} passes a knee): {found}"
            _log.info("%s: %s. How far to believe it: docs/concepts/saliency-truth.md", told, found)
        if pictures:
            outlined = any(plane.cartilage.any() for picture in pictures for plane in picture.planes)
            title = told + "; cartilage outlined" * outlined + (f"\n{found}" if found else "")
            self.draw(trainer, partial(_draw_pictures, trainer, stage, self.name, pictures, title))

    def _method(self, trainer: L.Trainer) -> SaliencyMethod:
        """The method of the stage that runs."""
        if self.method is not None:
            return self.method if self.stage == -1 else self.method.at(self.stage)
        training, otherwise = default_methods()
        return otherwise if trainer.testing or trainer.predicting else training

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
        method: SaliencyMethod,
        *,
        random: bool = False,
    ) -> Tensor:
        name = head_to_explain(_heads(pl_module), self.head)
        encoder: Any = pl_module.encoder
        heads: Any = pl_module.heads
        explainer = TailExplainer(pl_module, name, score=self.score, method=method)
        generator = torch.Generator().manual_seed(_SEED)
        features = output["features"]
        with random_weights(encoder, heads, generator=generator) if random else nullcontext():
            if random:
                features = encoder.features(batch["mri"].to(next(encoder.parameters(), batch["mri"]).dtype))
            return explainer(features, output["targets"][name], batch["mri"], output["knee"])

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
                inside, affine = regions[row].mask(volume.shape[1:]), batch["affine"][row].double()
                parts = batch["mri"][row, 0].float(), volume[row].float(), inside, affine
                mri, saliency, cartilage, affine = (part.cpu().numpy() for part in parts)
                planes = cut_planes(mri, for_display(saliency), cartilage, affine)
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
    write_figure(path, saliency_picture(pictures, title))
    if trainer.loggers:  # what leaves this machine does not name knees
        with tempfile.TemporaryDirectory() as folder:
            shared = [
                replace(picture, caption=picture.caption.replace(picture.knee, f"knee {number}", 1))
                for number, picture in enumerate(pictures, start=1)
            ]
            written = write_figure(Path(folder) / path.name, saliency_picture(shared, title))
            log_picture(trainer, metric_key(stage, name, "saliency"), written)


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
    parts += [f"{label} {value:.3g}" for label, value in values.items() if not math.isnan(value)]
    if float(columns["peak"][row]) == 0:
        parts.append("no saliency")
    return "    ".join(parts)
