"""The selective scan as one loop, which exported programs can hold; in plain PyTorch it would be slow."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor


def exporting() -> bool:
    """True while ``torch.export`` or the ONNX exporter looks at a model."""
    known: Any = getattr(torch.compiler, "is_exporting", None)  # PyTorch 2.7 and newer
    return bool(known is not None and known())


def without_autocast(device: str) -> AbstractContextManager[Any]:
    """Full precision, whatever surrounds it; a program that is being exported has no autocast to leave."""
    return nullcontext() if exporting() else torch.autocast(device, enabled=False)


def looped_scan(
    state: Float[Tensor, "batch states channels"],
    x: Float[Tensor, "batch tokens channels"],
    delta: Float[Tensor, "batch tokens channels"],
    A: Float[Tensor, "channels states"],
    B: Float[Tensor, "batch tokens states"],
    C: Float[Tensor, "batch tokens states"],
) -> tuple[Float[Tensor, "batch tokens channels"], Float[Tensor, "batch states channels"]]:
    """:func:`~oahier.encoders.selective_scan.scan_from` token by token, as an operator ``Scan`` in ONNX.

    A graph of the chunked scan would have a node for every step of every segment; this has one loop.
    """
    from torch._higher_order_ops.scan import scan

    decay = A.T.contiguous()

    @no_type_check  # checks at run time would become part of the loop
    def step(hidden: Tensor, token: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        value, time_step, weight_in, weight_out = token
        kept = torch.exp(time_step[:, None] * decay) * hidden
        hidden = kept + (time_step * value)[:, None] * weight_in[:, :, None]
        return hidden, (hidden * weight_out[:, :, None]).sum(dim=1)

    tokens = tuple(item.transpose(0, 1).contiguous() for item in (x, delta, B, C))
    last, y = scan(step, state.contiguous(), tokens)
    return y.transpose(0, 1), last
