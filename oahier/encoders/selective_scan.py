"""The selective scan of Mamba: plain PyTorch everywhere, the kernel of mamba-ssm where there is one."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from oahier.encoders.chunked_scan import ChunkedScan, Memory
from oahier.encoders.exported_scan import exporting, looped_scan, without_autocast


def selective_scan(
    x: Float[Tensor, "batch tokens channels"],
    delta: Float[Tensor, "batch tokens channels"],
    A: Float[Tensor, "channels states"],
    B: Float[Tensor, "batch tokens states"],
    C: Float[Tensor, "batch tokens states"],
    D: Float[Tensor, "channels"] | None = None,
    *,
    chunk: int = 64,
) -> Float[Tensor, "batch tokens channels"]:
    r"""Selective state space model S6 (Gu & Dao 2023, arXiv:2312.00752) over a sequence of tokens.

    :math:`h_t = e^{\Delta_t A} \odot h_{t-1} + \Delta_t x_t B_t,\ y_t = h_t C_t + D \odot x_t,\ h_0 = 0`

    States are in 32 bit whatever the autocast (64 bit if an input is); the result has the type of ``x``. On
    CUDA the kernel of ``mamba-ssm`` is used where that package is installed.

    Args:
        x: input.
        delta: time step of each token and channel, positive (after the softplus).
        A: decay of each state, negative.
        B: weights of the input, by token.
        C: weights of the output, by token.
        D: weights of the skip connection; none when not given.
        chunk: tokens between two states that are kept for the backward pass.

    Raises:
        ValueError: shapes that do not fit each other, an empty axis, or a chunk below 1.

    >>> x = torch.tensor([[[1.0], [0.0], [0.0]]])
    >>> half = torch.tensor([[0.5]]).log()
    >>> selective_scan(x, torch.ones_like(x), half, torch.ones_like(x), torch.ones_like(x)).flatten()
    tensor([1.0000, 0.5000, 0.2500])
    """
    kernel = fused_kernel(x)
    if kernel is None:
        return scan_from(None, x, delta, A, B, C, D, chunk=chunk)[0]
    _check(None, x, delta, A, B, C, D, chunk)
    with torch.autocast(x.device.type, enabled=False):
        turned = [item.float().transpose(1, 2).contiguous() for item in (x, delta, B, C)]
        skip = None if D is None else D.float()
        return kernel(turned[0], turned[1], A.float(), turned[2], turned[3], skip).transpose(1, 2).to(x.dtype)


def scan_from(
    state: Float[Tensor, "batch states channels"] | None,
    x: Float[Tensor, "batch tokens channels"],
    delta: Float[Tensor, "batch tokens channels"],
    A: Float[Tensor, "channels states"],
    B: Float[Tensor, "batch tokens states"],
    C: Float[Tensor, "batch tokens states"],
    D: Float[Tensor, "channels"] | None = None,
    *,
    chunk: int = 64,
    memory: Memory | None = None,
) -> tuple[Float[Tensor, "batch tokens channels"], Float[Tensor, "batch states channels"]]:
    """:func:`selective_scan` in plain PyTorch from a state (none: zero) on; returns the last state too.

    ``memory`` is for activation checkpointing: the second run takes what the first one found.
    """
    _check(state, x, delta, A, B, C, D, chunk)
    kind = functools.reduce(torch.promote_types, (item.dtype for item in (x, delta, A, B, C)), torch.float32)
    x_wide, *others = (item.to(kind) for item in (x, delta, A, B, C))
    if state is None:
        state = x_wide.new_zeros(x.shape[0], A.shape[1], A.shape[0])
    with without_autocast(x.device.type):
        if exporting():
            y, last = looped_scan(state.to(kind), x_wide, *others)
        else:
            y, last = ChunkedScan.apply(x_wide, *others, state.to(kind), chunk, memory)
        y = y if D is None else torch.addcmul(y, x_wide, D.to(kind))
    return y.to(x.dtype), last


def _check(
    state: Tensor | None,
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    chunk: int,
) -> None:
    batch, tokens, channels = x.shape
    states = A.shape[-1]
    expected = {
        "delta": (delta, (batch, tokens, channels)),
        "A": (A, (channels, states)),
        "B": (B, (batch, tokens, states)),
        "C": (C, (batch, tokens, states)),
        "D": (D, (channels,)),
        "state": (state, (batch, states, channels)),
    }
    for name, (item, shape) in expected.items():
        if item is not None and tuple(item.shape) != shape:
            raise ValueError(f"{name}: expected shape {shape} to go with x, got {tuple(item.shape)}")
    if 0 in x.shape or states == 0 or chunk < 1:
        raise ValueError(
            "expected at least one token, channel and state, and chunk >= 1, got x of shape "
            f"{tuple(x.shape)}, {states} states and chunk={chunk}"
        )


def fused_kernel(x: Tensor) -> Callable[..., Tensor] | None:
    """The kernel of mamba-ssm for a tensor like ``x``, or none."""
    return _mamba_ssm() if _on_cuda(x) and x.dtype != torch.float64 else None


def _on_cuda(x: Tensor) -> bool:
    return x.is_cuda


@functools.cache
def _mamba_ssm() -> Callable[..., Tensor] | None:
    """``selective_scan_fn``, which reads ``(batch, channels, tokens)``; none where it is not installed."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError:
        return None
    found: Callable[..., Tensor] = selective_scan_fn
    return found
