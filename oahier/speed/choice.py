"""Precision, memory layout and compilation of a training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class Speed:
    """How a training is computed; what is computed stays the same within rounding.

    Args:
        precision: of the trainer; ``None`` leaves it as the trainer has it.
        channels_last: volumes and weights of the encoder in the layout ``torch.channels_last_3d``.
        compile: compile the encoder with ``torch.compile``, for training steps.

    Raises:
        ValueError: another precision.

    >>> print(Speed(precision="bf16-mixed", compile=True), "|", Speed())
    bf16-mixed, compile | eager
    """

    precision: Precision | None = None
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if self.precision not in (None, *get_args(Precision)):
            expected = ", ".join(get_args(Precision))
            raise ValueError(f"speed: precision: expected one of {expected} or null, got {self.precision!r}")

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, as a configuration has them."""
        return asdict(self)

    def __str__(self) -> str:
        flags = {"channels_last": self.channels_last, "compile": self.compile}
        named = [*([self.precision] if self.precision else []), *(name for name, on in flags.items() if on)]
        return ", ".join(named) or "eager"
