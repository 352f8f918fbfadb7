"""Any metric as a :class:`torchmetrics.Metric`, for use in a LightningModule of one's own."""

from __future__ import annotations

from typing import Any

import torch
import torchmetrics
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from oahier.metrics.registry import Kind, Metric, registered
from oahier.metrics.rows import Rows
from oahier.types import Labels, Probabilities, Scalar


class TorchMetric(torchmetrics.Metric):
    """A metric over all batches of an epoch; its states gather over processes.

    ``update`` takes probabilities ``(batch, classes)`` and labels ``(batch,)``; rows with ``MISSING`` are
    left out. ``compute`` is NaN without labelled rows or after a probability that was not finite.

    Args:
        metric: a :class:`~oahier.metrics.Metric`, or the name of a registered one.
        kind: of the head, for a name.
        kwargs: arguments of :class:`torchmetrics.Metric`.

    Raises:
        ValueError: a name that is not registered for heads of this kind.

    >>> metric = TorchMetric("qwk")
    >>> metric.update(torch.eye(5)[[0, 2, 4]], torch.tensor([0, 1, 4]))
    >>> metric.compute()
    tensor(0.9412, dtype=torch.float64)
    """

    is_differentiable = False
    full_state_update = False
    probabilities: list[Tensor]
    labels: list[Tensor]

    def __init__(self, metric: Metric | str, kind: Kind = "ordinal", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(metric, str):
            known = {one.name: one for one in registered(kind)}
            if metric not in known:
                raise ValueError(
                    f"TorchMetric: expected a metric of {kind} heads ({', '.join(known)}), got {metric!r}"
                )
            metric = known[metric]
        self.metric = metric
        self.add_state("probabilities", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """True if larger values are better."""
        return self.metric.better == "larger"

    @override
    def update(self, probabilities: Probabilities, labels: Labels) -> None:
        """Add a batch."""
        self.probabilities.append(probabilities.detach())
        self.labels.append(labels)

    @override
    def compute(self) -> Scalar:
        """The metric over all rows."""
        if len(self.labels) == 0:
            return torch.tensor(torch.nan, dtype=torch.float64)
        rows = Rows.of(dim_zero_cat(self.probabilities), dim_zero_cat(self.labels))
        return torch.tensor(self.metric.value(rows), dtype=torch.float64, device=self.device)
