"""Memory layout and compilation of an encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from oahier.encoders import Encoder
from oahier.specs.errors import first_line

Features = Callable[[Tensor], tuple[Tensor, ...]]


class Execution:
    """How a model computes the feature maps of its encoder.

    Names of weights, and so checkpoints, are the same in any of them.

    Args:
        channels_last: give the encoder volumes in the layout ``torch.channels_last_3d``;
            :func:`set_layout` gives the weights that layout.
        compiled: compile the encoder (``torch.compile``) for training steps. Evaluation stays as it is: it
            would be compiled again for other sizes and modes, for few steps.

    >>> from oahier.encoders import ResNet3D
    >>> execution = Execution(channels_last=True)
    >>> maps = execution.features(ResNet3D(depth=10, width=8), torch.zeros(2, 1, 16, 16, 16))
    >>> len(maps)
    5
    """

    def __init__(self, *, channels_last: bool = False, compiled: bool = False) -> None:
        self.channels_last, self.compiled = channels_last, compiled
        self._made: Features | None = None
        self._encoder: Encoder | None = None

    def features(self, encoder: Encoder, volume: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of volumes ``(batch, 1, i, j, k)``.

        Raises:
            CompileError: the encoder cannot be compiled here.
        """
        if self.channels_last:
            volume = volume.contiguous(memory_format=torch.channels_last_3d)
        if not (self.compiled and encoder.training and torch.is_grad_enabled()):
            return encoder.features(volume)
        if self._made is None or self._encoder is not encoder:
            self._made, self._encoder = torch.compile(encoder.features), encoder
        try:
            return self._made(volume)
        except Exception as error:
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            reason = first_line(getattr(error, "inner_exception", None) or error)
            raise CompileError(
                f"the encoder cannot be compiled here: {reason}; train it without (compile: false)"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes along: compiled code belongs to the weights that it was made for."""
        return {**self.__dict__, "_made": None, "_encoder": None}


class CompileError(ValueError):
    """An encoder cannot be compiled on this machine; the message says why and what to do."""


def set_layout(encoder: Encoder, *, channels_last: bool) -> None:
    """Lay out the weights of 3D convolutions, in place: the parameters stay the same objects."""
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    for parameter in encoder.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=layout)
