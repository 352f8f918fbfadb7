"""Parameter groups by stage, with learning rates that fall from the heads to the first stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from oahier.encoders import Encoder, PlainEncoder, StagedEncoder


def stages_of(encoder: Encoder) -> Sequence[nn.Module]:
    """Modules of an encoder from the volume to the embedding.

    The stages of a :class:`~oahier.encoders.StagedEncoder`; of another, its modules in the order in which it
    was given them.
    """
    if isinstance(encoder, StagedEncoder):
        return encoder.stages()
    return list((encoder.module if isinstance(encoder, PlainEncoder) else encoder).children())


def layerwise_groups(model: nn.Module, encoder: Encoder) -> list[dict[str, Any]]:
    """Parameter groups ``encoder.0``, ``encoder.1``, ... and ``heads``, from the volume to the outputs.

    What no stage of the encoder holds counts with its last one; what is not in the encoder is in ``heads``.
    """
    stages = [list(stage.parameters()) for stage in stages_of(encoder)]
    stages = [stage for stage in stages if stage] or [[]]
    seen = {id(one) for stage in stages for one in stage}
    stages[-1] += [one for one in encoder.parameters() if id(one) not in seen]
    inside = {id(one) for one in encoder.parameters()}
    groups = [{"params": stage, "name": f"encoder.{index}"} for index, stage in enumerate(stages)]
    return [
        *groups,
        {"params": [one for one in model.parameters() if id(one) not in inside], "name": "heads"},
    ]


def decay_rates(optimizer: Optimizer, decay: float) -> None:
    """Multiply the rate of each group by ``decay`` once for each group between it and the last.

    >>> import torch
    >>> made = torch.optim.SGD([{"params": [torch.zeros(1)]} for _ in range(3)], lr=1.0)
    >>> decay_rates(made, 0.5)
    >>> [group["lr"] for group in made.param_groups]
    [0.25, 0.5, 1.0]
    """
    for distance, group in enumerate(reversed(optimizer.param_groups)):
        group["lr"] *= decay**distance
