"""Training, validation, test and prediction steps, and what they ask of volumes and labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from oahier.encoders import Encoder
from oahier.heads import Head
from oahier.hierarchy import DEFAULT_HIERARCHY, Hierarchy
from oahier.losses import LossWeighting, Term
from oahier.model.checks import name_of
from oahier.model.epoch_losses import LossLogging
from oahier.model.execution import Execution
from oahier.model.objective import head_losses
from oahier.types import MISSING, Batch, Step, StepOutput, is_known

EXACT = ("affine", "targets")
"""Geometry in millimetres, and measurements: three digits of bfloat16 would move voxels and labels."""


class SteppingModule(LossLogging):
    """A module whose steps return a :class:`~oahier.types.StepOutput`, from its encoder, heads and terms."""

    encoder: Encoder
    weighting: LossWeighting
    _probes: frozenset[str]
    execution = Execution()
    """How feature maps are computed; :class:`oahier.speed.SpeedSetting` sets it while it trains."""

    def logits_from_embedding(self, embedding: Tensor) -> dict[str, Tensor]:
        """Logits of each head."""
        raise NotImplementedError(f"{type(self).__name__}: expected a subclass to have heads")

    def maps(self, mri: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of volumes ``(batch, 1, i, j, k)``, finest first.

        Raises:
            ValueError: other shapes or types, or one knee where the batch normalisation needs several.
        """
        _check_volume(mri, self.encoder)
        with _explain_single_value(self.encoder, mri):
            return self.execution.features(self.encoder, mri)

    def embed(self, features: tuple[Tensor, ...]) -> Tensor:
        """Embeddings ``(rows, num_features)`` of feature maps."""
        return self.encoder.embed(features)

    @property
    def probes(self) -> frozenset[str]:
        """Names of the heads whose gradients do not reach the encoder."""
        return self._probes

    @property
    def hierarchy(self) -> Hierarchy:
        """The levels that the heads share: those of the first head that was given some, else OA above KL."""
        given = [getattr(head, "hierarchy", None) for _, head in self._heads()]
        return next((one for one in given if isinstance(one, Hierarchy)), DEFAULT_HIERARCHY)

    def target_of(self, name: str) -> str:
        """The target column that a head is evaluated on, the first of those that supervise it."""
        return self.targets_of(name)[0]

    def targets_of(self, name: str) -> tuple[str, ...]:
        """The target columns that supervise a head: several are readings of one label."""
        target = self._head(name).target or name
        return (target,) if isinstance(target, str) else target

    def training_step(self, batch: Batch, batch_idx: int) -> StepOutput:
        return self._step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> StepOutput:
        return self._step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> StepOutput:
        return self._step(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> StepOutput:
        return self._step(batch, None)

    def _step(self, batch: Batch, stage: str | None) -> StepOutput:
        features = self.maps(batch["mri"])
        embedding = self.embed(features)
        logits = self.logits_from_embedding(embedding)
        readings = {name: self._readings(name, batch, stage) for name in self.heads}
        losses, rows = head_losses(dict(self._heads()), logits, readings, graph=bool(self.terms))
        if stage is not None and self.terms:
            losses |= self._term_losses(batch, features, embedding, logits, rows)
        parts = [self.joined(losses, embedding)] if losses else []
        loss = torch.stack([*parts, *self._idle(losses, embedding)]).sum()
        if stage == "train":
            self.log_step(loss, losses, readings)
        with torch.no_grad():
            values = {name: value.detach() for name, value in logits.items()}
            return StepOutput(
                loss=loss,
                losses={name: value.detach() for name, value in losses.items()},
                row_losses={name: value.detach() for name, value in rows.items()},
                features=() if stage == "train" else tuple(item.detach() for item in features),
                embedding=embedding.detach(),
                logits=values,
                probabilities={name: self._head(name).probabilities(item) for name, item in values.items()},
                severity={name: self._head(name).severity(item) for name, item in values.items()},
                targets={name: head.classes_of(readings[name][:, 0]) for name, head in self._heads()},
                knee=list(batch["knee"]),
                subject=list(batch["subject"]),
            )

    def _readings(self, name: str, batch: Batch, stage: str | None) -> Tensor:
        """Labels of a head, ``(batch, readings)``; all missing where prediction has no such column."""
        head, columns = self._head(name), []
        for target in self.targets_of(name):
            column = batch["targets"].get(target)
            if column is None and stage is not None:
                raise ValueError(
                    f"head {name!r} learns from target {target!r}, but the batch has "
                    f"{sorted(batch['targets'])}; add it to the data module's targets or set "
                    f"{type(head).__name__}(target=...)"
                )
            if column is None:
                column = torch.full((len(batch["mri"]),), MISSING, device=batch["mri"].device)
            columns.append(_checked_labels(name, head, column))
        return torch.stack(columns, dim=1)

    def _term_losses(
        self, batch: Batch, features: tuple[Tensor, ...], embedding: Tensor, logits: dict[str, Tensor],
        rows: dict[str, Tensor],
    ) -> dict[str, Tensor]:  # fmt: skip
        step = Step(
            features=features,
            embedding=embedding,
            logits=logits,
            log_probabilities={name: head.log_probabilities(logits[name]) for name, head in self._heads()},
            row_losses=rows,
            targets=dict(batch["targets"]),
            knee=list(batch["knee"]),
            subject=list(batch["subject"]),
            epoch=self.current_epoch,
        )
        values = {name: term(step) for name, term in self._terms().items()}
        for name, value in values.items():
            if value.ndim:
                raise ValueError(
                    f"terms[{name!r}]: {type(self.terms[name]).__name__}.forward: expected a scalar, "
                    f"got shape {tuple(value.shape)}"
                )
        return values

    def joined(self, losses: Mapping[str, Tensor], shared: Tensor | None = None) -> Tensor:
        """The weighted losses of heads and terms, and those of probes beside them."""
        supervising = {name: loss for name, loss in losses.items() if name not in self._probes}
        probing = [loss for name, loss in losses.items() if name in self._probes]
        weighted = [self.weighting(supervising, shared=shared)] if supervising else []
        return torch.stack([*weighted, *probing]).sum()

    def _idle(self, losses: dict[str, Tensor], embedding: Tensor) -> list[Tensor]:
        """Zeros that reach the parameters which the losses of this batch may not.

        Every parameter has a gradient in every step: DDP waits for it, also where a batch lacks a label.
        """
        idle: list[nn.Module] = [head for name, head in self._heads() if name not in losses]
        idle += [self.weighting] if idle else []
        idle += [self.terms] if self.terms else []
        zeros = [0.0 * parameter.sum() for module in idle for parameter in module.parameters()]
        supervised = any(name not in self._probes for name in losses if name in self.heads)
        return zeros if supervised else [0.0 * embedding.sum(), *zeros]

    def _head(self, name: str) -> Head:
        head = self.heads[name]
        if not isinstance(head, Head):
            raise TypeError(f"heads[{name!r}]: expected an oahier Head, got {type(head).__name__}")
        return head

    def _terms(self) -> dict[str, Term]:
        return dict(self.terms.items())  # type: ignore[arg-type]

    def _heads(self) -> list[tuple[str, Head]]:
        return [(name, self._head(name)) for name in self.heads]


def _check_volume(mri: Tensor, encoder: nn.Module) -> None:
    """Refuse anything but a non-empty ``(batch, 1, i, j, k)`` of the encoder's type of numbers."""
    if mri.ndim != 5 or mri.shape[1] != 1 or 0 in mri.shape:
        raise ValueError(
            "mri: expected a batch of volumes (batch, 1, i, j, k) with no empty axis, "
            f"got shape {tuple(mri.shape)}"
        )
    kinds = (item.dtype for item in encoder.parameters() if item.is_floating_point())
    expected = next(kinds, mri.dtype)
    cast = mri.is_floating_point() and torch.is_autocast_enabled(mri.device.type)
    if mri.dtype != expected and not cast:
        raise ValueError(
            f"mri: expected {expected}, as the weights of the encoder are, got {mri.dtype}; convert it with "
            f"mri.to({expected})"
        )


@contextmanager
def _explain_single_value(encoder: Encoder, mri: Tensor) -> Iterator[None]:
    """Say what to do where batch normalisation is given one value a channel."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            f"encoder {name_of(encoder)} cannot train on one knee of {'x'.join(map(str, mri.shape[2:]))} "
            "voxels: its batch normalisation meets a feature map of one voxel. Use a larger batch_size, "
            "larger volumes (data.shape), or another norm, as oahier.ResNet3D(norm='group') has"
        ) from error


def _checked_labels(name: str, head: Head, column: Tensor) -> Tensor:
    """A target column as the head learns from it: int64 classes, or numbers.

    Whole numbers of another type are converted, NaN among them to ``MISSING``.

    Raises:
        ValueError: labels that are not whole or outside ``0 .. num_classes - 1``; numbers that are infinite.
    """
    if head.learns_from == "numbers":
        if bool(column.isinf().any()):
            raise ValueError(f"head {name!r}: expected finite numbers, or NaN for missing, got infinite ones")
        return torch.where(is_known(column), column.float(), torch.nan)
    if column.is_floating_point():
        column = torch.where(column.isnan(), MISSING, column)
    known = column[column != MISSING]
    if bool(((known < 0) | (known >= head.num_classes) | (known != known.long())).any()):
        raise ValueError(
            f"head {name!r}: expected whole labels 0..{head.num_classes - 1} (or -1 for missing), "
            f"got {sorted(set(known.tolist()))}; correct the target column or the head's num_classes"
        )
    return column.long()


def keep_exact(trainer: L.Trainer) -> None:
    """Let the trainer's conversion of batches (``bf16-true``, ``16-true``) leave :data:`EXACT` as they come.

    Lightning converts every floating tensor of a batch before any hook of a model or data module sees it.
    """
    plugin: Any = trainer.precision_plugin
    if getattr(plugin, "_oahier_exact", False):
        return
    convert = plugin.convert_input

    def converted(batch: Any) -> Any:
        made = convert(batch)
        if isinstance(batch, Mapping) and isinstance(made, dict):
            made.update({name: batch[name] for name in EXACT if name in batch})
        return made

    plugin.convert_input, plugin._oahier_exact = converted, True
