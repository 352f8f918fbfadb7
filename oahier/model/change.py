"""The model of change between two visits of a knee: one encoder sees both."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from oahier.heads import ChangeHead, Head
from oahier.losses import LossWeighting
from oahier.model.assembly import OptimizerFactory, SchedulerFactory
from oahier.model.classifier import HierarchicalClassifier
from oahier.types import Batch, StepOutput


class ChangeModel(HierarchicalClassifier):
    """Learns change from pairs of visits, as :class:`~oahier.data.PairedVisits` delivers them.

    A pair is a volume of two channels, the first visit and the second. One encoder embeds both; heads,
    metrics and prediction files read the difference of the embeddings, a row a pair. Swapping the visits
    reverses every score.

    Args:
        encoder: as of :class:`~oahier.HierarchicalClassifier`.
        heads: :class:`~oahier.heads.ChangeHead` by name; one called ``change`` when not given.
        loss_weights, optimizer, lr_scheduler, probes, layer_decay: as there.

    Raises:
        ValueError: as there.
        TypeError: a head of another kind.

    >>> import oahier as oh
    >>> model = ChangeModel(oh.ResNet3D(depth=10, width=8)).eval()
    >>> pair = torch.randn(1, 2, 16, 24, 24)
    >>> bool(torch.allclose(model(pair)["change"], -model(pair.flip(1))["change"], rtol=0, atol=1e-6))
    True
    """

    def __init__(
        self,
        encoder: nn.Module | str | dict[str, Any],
        heads: Mapping[str, Head] | None = None,
        loss_weights: LossWeighting | dict[str, float] | None = None,
        optimizer: OptimizerFactory = torch.optim.AdamW,
        lr_scheduler: SchedulerFactory | None = None,
        probes: Sequence[str] | None = None,
        layer_decay: float = 1.0,
    ) -> None:
        given = {"change": ChangeHead()} if heads is None else heads
        super().__init__(encoder, given, loss_weights, optimizer, lr_scheduler, None, probes, layer_decay)
        for name, head in self._heads():
            if not isinstance(head, ChangeHead):
                raise TypeError(
                    f"heads[{name!r}]: expected an oahier.heads.ChangeHead, whose score is reversed "
                    f"where visits are swapped, got {type(head).__name__}"
                )

    @classmethod
    def from_classifier(
        cls, trained: HierarchicalClassifier | str | Path, heads: Mapping[str, Head] | None = None,
        **arguments: Any,
    ) -> ChangeModel:  # fmt: skip
        """A model that starts from the encoder of a trained classifier.

        Args:
            trained: the classifier, whose encoder is copied, or its checkpoint.
            heads: as of the class.
            arguments: further arguments of the class.

        Raises:
            CheckpointError: the checkpoint cannot be loaded.
        """
        if not isinstance(trained, HierarchicalClassifier):
            trained = HierarchicalClassifier.load_from_checkpoint(trained)
        return cls(copy.deepcopy(trained.encoder), heads, **arguments)

    def maps(self, mri: Tensor) -> tuple[Tensor, ...]:
        """Feature maps ``(2 * batch, ...)`` of pairs ``(batch, 2, i, j, k)``."""
        if mri.ndim != 5 or mri.shape[1] != 2:
            raise ValueError(
                "mri: expected pairs of visits (batch, 2, i, j, k), as oahier.data.PairedVisits delivers "
                f"them, got shape {tuple(mri.shape)}"
            )
        return super().maps(mri.flatten(0, 1)[:, None])

    def embed(self, features: tuple[Tensor, ...]) -> Tensor:
        """Embedding of the second visit less that of the first, ``(batch, num_features)``."""
        visits = super().embed(features)
        return visits[1::2] - visits[0::2]

    def _step(self, batch: Batch, stage: str | None) -> StepOutput:
        output = super()._step(batch, stage)
        output["features"] = ()  # two maps a row would mislead whoever reads them
        return output
