"""The model: one encoder, heads at several levels, one objective."""

from __future__ import annotations

import functools
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
    learning_rate,
    reading_order,
    spare_from_decay,
)
from oahier.model.checks import (
    check_against_data,
    check_embedding,
    check_prepared,
    check_probes,
    check_reading,
)
from oahier.model.forgotten import described
from oahier.model.layer_decay import decay_rates, layerwise_groups
from oahier.model.ownership import claim, refuse_shared
from oahier.model.restorable import Restorable
from oahier.model.schedules import Schedule, follow_training
from oahier.model.steps import SteppingModule, keep_exact
from oahier.types import TrainingFacts


class HierarchicalClassifier(Restorable, SteppingModule):
    """Single-OA, Single-KL or Dual supervision of one encoder, by the heads that are given.

    The serial form of the arguments (``{"class_path": ..., "init_args": {...}}`` for each part) is what
    checkpoints hold; they load with ``weights_only=True`` and no further arguments.
    :meth:`from_specification` makes a model from it.

    Args:
        encoder: an :class:`~oahier.Encoder`, any module that returns a feature map or an embedding, or a
            name (``"resnet3d"``, ``"m3t"``, ``"nnmamba"``, ``"resenc"``, ``"timm3d/resnet18"``,
            ``"monai/resnet50"``).
        heads: heads by name; a head learns from the target column of its name unless it says otherwise.
        loss_weights: weight of each term and of each head that is no probe (all 1 when not given), or a
            :class:`~oahier.losses.LossWeighting`. The losses of probes are added unweighted.
        optimizer: makes an optimizer from parameters, e.g. ``functools.partial(torch.optim.AdamW, lr=1e-4)``.
        lr_scheduler: makes a scheduler from an optimizer, stepped once an epoch; a
            :class:`~oahier.Schedule` (``oahier.CosineSchedule``) is stepped at every step and follows
            ``max_epochs``.
        terms: further terms of the objective by name, see :class:`~oahier.losses.Term`.
        probes: names of the heads whose gradients do not reach the encoder, beside those that were made with
            ``probe=True``.
        layer_decay: factor of the learning rate from each stage of the encoder to the one before it, the
            last stage's to that of the heads (Clark et al. 2020, arXiv:2003.10555); 1 for one rate.

    Raises:
        ValueError: no heads, a name that is unknown, weights that do not fit the heads, heads that read
            each other in a circle or belong to another model; a ``layer_decay`` outside (0, 1].
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
        layer_decay: float = 1.0,
    ) -> None:
        super().__init__()
        self.remember_arguments()
        if not 0 < layer_decay <= 1:
            raise ValueError(f"layer_decay: expected a factor above 0, at most 1, got {layer_decay}")
        self._layer_decay = layer_decay
        self.encoder: Encoder = as_encoder(encoder)
        self.heads = nn.ModuleDict(as_heads(heads))
        self.terms = nn.ModuleDict(as_terms(terms, list(self.heads)))
        self.weighting = as_weighting(loss_weights)
        refuse_shared(self._components())
        self._probes = as_probes(probes, dict(self._heads()))
        self._order = reading_order(dict(self._heads()))
        self._build()
        self.watch_losses()
        self._optimizer = as_factory("optimizer", optimizer, Optimizer)
        self._lr_scheduler = lr_scheduler and as_factory("lr_scheduler", lr_scheduler, LRScheduler)
        claim(self, self._components())

    def _components(self) -> dict[str, nn.Module]:
        heads = {f"heads[{name!r}]": head for name, head in self._heads()}
        terms = {f"terms[{name!r}]": term for name, term in self._terms().items()}
        return {"encoder": self.encoder, **heads, **terms, "loss_weights": self.weighting}

    def _build(self) -> None:
        """Make the layers of heads, terms and weighting; heads count as built when all are."""
        widths = {}
        for name in self._order:
            head = self._head(name)
            read = None if head.reads is None else self._head(head.reads)
            widths[name] = self.encoder.num_features if read is None else head.width_of(read)
            head.build(widths[name])
            check_reading(name, head, read)
        for term in self._terms().values():
            term.build(self.encoder.num_features)
        self.weighting.build([*(name for name in self.heads if name not in self._probes), *self.terms])
        for name, width in widths.items():
            self._head(name).in_features = width

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy or a pickle, which owns its components as the original does."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        claim(self, self._components())

    def forward(self, mri: Tensor) -> dict[str, Tensor]:
        """Logits ``(batch, num_logits)`` of each head for volumes ``(batch, 1, i, j, k)``."""
        return self.logits_from_embedding(self.embed(self.maps(mri)))

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
    def lr(self) -> float | None:
        """Learning rate of the optimizer; None where it is made by a function that does not say.

        Set it, as ``Tuner.lr_find`` does, and optimizers are made with it and checkpoints hold it.
        """
        return learning_rate(self._optimizer)

    @lr.setter
    def lr(self, value: float) -> None:
        if self.lr is None:
            raise ValueError(
                "lr: the optimizer is made by a function without an argument lr; give the model an optimizer "
                "class or a partial of one, for example functools.partial(torch.optim.AdamW, lr=1e-3)"
            )
        factory: Any = self._optimizer
        self._optimizer = functools.partial(factory, lr=value)
        if "optimizer" not in self._forgotten:
            self.specification |= described({"optimizer": self._optimizer})[0]
            self.save_hyperparameters(self.specification)

    def configure_optimizers(self) -> Any:
        layerwise = self._layer_decay != 1
        optimizer = self._optimizer(layerwise_groups(self, self.encoder) if layerwise else self.parameters())
        if layerwise:
            decay_rates(optimizer, self._layer_decay)
        spare_from_decay(optimizer)
        if self._lr_scheduler is None:
            return optimizer
        made = self._lr_scheduler(optimizer)
        interval = "step" if isinstance(made, Schedule) else "epoch"
        scheduler = {"scheduler": made, "interval": interval, "monitor": metric_key("val", "loss")}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def on_train_start(self) -> None:
        """Let schedules follow the length of the training."""
        follow_training(self.trainer, self._planned_epochs)

    def setup(self, stage: str) -> None:
        """Check heads and encoder against the data, and prepare all parts for the training split."""
        super().setup(stage)
        keep_exact(self.trainer)
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

    def on_train_epoch_start(self) -> None:
        """Tell the weighting."""
        self.weighting.begin_epoch(self.current_epoch)

    def on_fit_start(self) -> None:
        """Refuse parts that are not prepared; a checkpoint to resume from has been loaded by now."""
        check_prepared(self)
