"""The model: one encoder, heads at several levels, one objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from oahier.encoders import Encoder, as_encoder
from oahier.heads import Head
from oahier.keys import metric_key
from oahier.losses import LossWeighting, Term
from oahier.model.assembly import (
    OptimizerFactory,
    SchedulerFactory,
    as_factory,
    as_heads,
    as_probes,
    as_terms,
    as_weighting,
    reading_order,
    spare_from_decay,
)
from oahier.model.checks import (
    check_against_data,
    check_embedding,
    check_prepared,
    check_probes,
    check_volume,
    checked_labels,
)
from oahier.model.epoch_losses import LossLogging
from oahier.model.objective import head_losses
from oahier.model.restorable import Restorable
from oahier.types import MISSING, Batch, Step, StepOutput, TrainingFacts


class HierarchicalClassifier(Restorable, LossLogging):
    """Single-OA, Single-KL or Dual supervision of one encoder, by the heads that are given.

    The serial form of the arguments (``{"class_path": ..., "init_args": {...}}`` for each part) is what
    checkpoints hold; they load with ``weights_only=True`` and no further arguments.
    :meth:`from_specification` makes a model from it.

    Args:
        encoder: an :class:`~oahier.Encoder`, any module that returns a feature map or an embedding, or a
            name (``"resnet3d"``, ``"m3t"``, ``"nnmamba"``, ``"timm3d/resnet18"``, ``"monai/densenet121"``).
        heads: heads by name; a head learns from the target column of its name unless it says otherwise.
        loss_weights: weight of each term and of each head that is no probe (all 1 when not given), or a
            :class:`~oahier.losses.LossWeighting`. The losses of probes are added unweighted.
        optimizer: makes an optimizer from parameters, e.g. ``functools.partial(torch.optim.AdamW, lr=1e-4)``.
        lr_scheduler: makes a scheduler from an optimizer, stepped once an epoch.
        terms: further terms of the objective by name, see :class:`~oahier.losses.Term`.
        probes: names of the heads whose gradients do not reach the encoder, beside those that were made with
            ``probe=True``.

    Raises:
        ValueError: no heads, a name that is unknown, weights that do not fit the heads, heads that read
            each other in a circle or belong to another model.
        TypeError: an argument of another kind.

    >>> import oahier as oh
    >>> model = oh.HierarchicalClassifier(
    ...     encoder=oh.ResNet3D(depth=10, width=8), heads={"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead(5)}
    ... )
    >>> {name: tuple(logits.shape) for name, logits in model(torch.zeros(2, 1, 16, 24, 24)).items()}
    {'oa': (2, 1), 'kl': (2, 5)}
    """

    def __init__(
        self,
        encoder: nn.Module | str | dict[str, Any],
        heads: Mapping[str, Head],
        loss_weights: LossWeighting | dict[str, float] | None = None,
        optimizer: OptimizerFactory = torch.optim.AdamW,
        lr_scheduler: SchedulerFactory | None = None,
        terms: Mapping[str, Term] | None = None,
        probes: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.remember_arguments()
        self.encoder: Encoder = as_encoder(encoder)
        self.heads = nn.ModuleDict(as_heads(heads))
        self._probes = as_probes(probes, dict(self._heads()))
        self._order = reading_order(dict(self._heads()))
        for name in self._order:
            head = self._head(name)
            read = None if head.reads is None else self._head(head.reads)
            width = self.encoder.num_features if read is None else head.width_of(read)
            head.build(width)
            head.in_features = width
        self.terms = nn.ModuleDict(as_terms(terms, list(self.heads)))
        for term in self._terms().values():
            term.build(self.encoder.num_features)
        self.weighting = as_weighting(loss_weights)
        self.weighting.build([*(name for name in self.heads if name not in self._probes), *self.terms])
        self.watch_losses()
        self._optimizer = as_factory("optimizer", optimizer, Optimizer)
        self._lr_scheduler = lr_scheduler and as_factory("lr_scheduler", lr_scheduler, LRScheduler)

    def forward(self, mri: Tensor) -> dict[str, Tensor]:
        """Logits ``(batch, num_logits)`` of each head for volumes ``(batch, 1, i, j, k)``."""
        return self.logits_from_embedding(self.encoder(mri))

    def logits_from_embedding(self, embedding: Tensor) -> dict[str, Tensor]:
        """Logits of each head for embeddings ``(batch, num_features)``, in the precision of the heads."""
        check_embedding(embedding, self.encoder)
        logits: dict[str, Tensor] = {}
        with torch.autocast(embedding.device.type, enabled=False):
            for name in self._order:
                head = self._head(name)
                read = embedding
                if head.reads is not None:
                    read = head.input_from(self._head(head.reads), logits[head.reads])
                read = read.to(next(head.parameters(), read).dtype)
                logits[name] = head(read.detach() if name in self._probes else read)
        return {name: logits[name] for name in self.heads}

    @property
    def probes(self) -> frozenset[str]:
        """Names of the heads whose gradients do not reach the encoder."""
        return self._probes

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
        check_volume(batch["mri"])
        features = self.encoder.features(batch["mri"])
        embedding = self.encoder.embed(features)
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
            columns.append(checked_labels(name, head, column))
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
        return {name: term(step) for name, term in self._terms().items()}

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

    def configure_optimizers(self) -> Any:
        optimizer = self._optimizer(self.parameters())
        spare_from_decay(optimizer)
        if self._lr_scheduler is None:
            return optimizer
        scheduler = {"scheduler": self._lr_scheduler(optimizer), "monitor": metric_key("val", "loss")}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def setup(self, stage: str) -> None:
        """Check heads and encoder against the data, and prepare all parts for the training split."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        check_against_data(self, data)
        if stage == "fit":
            check_probes(dict(self._heads()), self._probes)
            self._prepare(getattr(data, "class_counts", None))

    def _prepare(self, counts: Mapping[str, Sequence[int]] | None) -> None:
        """Hand the class counts of the training split to heads, terms and weighting."""
        if counts is None:
            return
        for name, head in self._heads():
            head.prepare(TrainingFacts(counts, targets=self.targets_of(name)))
        others: list[Term | LossWeighting] = [*self._terms().values(), self.weighting]
        for other in others:
            other.prepare(TrainingFacts(counts))

    def on_fit_start(self) -> None:
        """Refuse parts that are not prepared; a checkpoint to resume from has been loaded by now."""
        check_prepared(self)

    def _head(self, name: str) -> Head:
        head = self.heads[name]
        if not isinstance(head, Head):
            raise TypeError(f"heads[{name!r}]: expected an oahier Head, got {type(head).__name__}")
        return head

    def _terms(self) -> dict[str, Term]:
        return dict(self.terms.items())  # type: ignore[arg-type]

    def _heads(self) -> list[tuple[str, Head]]:
        return [(name, self._head(name)) for name in self.heads]
