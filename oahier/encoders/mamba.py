"""One Mamba layer, with the parameters of mamba-ssm and mambapy."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad, silu, softplus
from torch.utils.checkpoint import checkpoint

from oahier.encoders.chunked_scan import Memory, chunks_at_once
from oahier.encoders.exported_scan import exporting, without_autocast
from oahier.encoders.selective_scan import fused_kernel, scan_from, selective_scan

_ROUNDS = 16
"""Segments of the scan in a part of the sequence that is computed again in the backward pass."""


class Mamba(nn.Module):
    """Selective state space layer (Gu & Dao 2023, arXiv:2312.00752): tokens to tokens, in their order.

    Names, shapes and initial values of the parameters are those of ``mamba_ssm.Mamba`` and of
    ``mambapy.mamba.MambaBlock``, whose weights it loads. ``A_log`` and ``D`` are marked to have no weight
    decay. Time steps and states are computed in 32 bit, whatever the autocast.

    Args:
        width: channels of a token.
        states: size of the state of each inner channel (``d_state``).
        kernel: tokens that the causal convolution sees (``d_conv``).
        expand: inner channels over ``width``.
        chunk: see :func:`~oahier.encoders.selective_scan.selective_scan`.
    """

    def __init__(
        self, width: int, *, states: int = 16, kernel: int = 4, expand: int = 2, chunk: int = 32
    ) -> None:
        super().__init__()
        inner, rank = expand * width, math.ceil(width / 16)
        self.rank, self.states, self.chunk = rank, states, chunk
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, kernel, groups=inner)
        self.x_proj = nn.Linear(inner, rank + 2 * states, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            self.dt_proj.bias.copy_(_inverse_softplus(_first_time_steps(inner)))
        self.A_log = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)
        self._mark()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._mark()

    def _mark(self) -> None:
        """No weight decay on the dynamics; a copied parameter loses its mark."""
        for parameter in (self.A_log, self.D):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        if fused_kernel(tokens) is not None or exporting():
            return self._run(tokens, None, None)[0]
        size = len(tokens) * self.A_log.numel()
        length = _ROUNDS * self.chunk * chunks_at_once(tokens.device, size)
        parts, state, before = [], None, None
        for part in tokens.split(length, dim=1):
            if torch.is_grad_enabled() and tokens.shape[1] > length:
                out, state, before = checkpoint(
                    self._run, part, state, before, Memory(), use_reentrant=False, preserve_rng_state=False
                )
            else:
                out, state, before = self._run(part, state, before)
            parts.append(out)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _run(
        self, tokens: Tensor, state: Tensor | None, before: Tensor | None, memory: Memory | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Some tokens, from the state and the last inputs of the convolution before them on."""
        x, gate = self.in_proj(tokens).chunk(2, dim=-1)
        behind = self.conv1d.kernel_size[0] - 1
        x = pad(x, (0, 0, behind, 0)) if before is None else torch.cat([before.to(x.dtype), x], dim=1)
        before = x[:, x.shape[1] - behind :].clone()
        x = silu(self._convolve(x))
        low_rank, B, C = self.x_proj(x).split([self.rank, self.states, self.states], dim=-1)
        with without_autocast(tokens.device.type):
            kind = self.dt_proj.weight.dtype
            delta = softplus(linear(low_rank.to(kind), self.dt_proj.weight, self.dt_proj.bias))
            arguments = (x, delta, -self.A_log.exp(), B, C, self.D)
            if fused_kernel(x) is not None:
                y = selective_scan(*arguments)
            else:
                y, state = scan_from(state, *arguments, chunk=self.chunk, memory=memory)
        return self.out_proj(y * silu(gate)), state, before

    def _convolve(self, tokens: Tensor) -> Tensor:
        """``conv1d`` as a convolution of images one pixel high, whose channels may come last in memory."""
        weight = self.conv1d.weight.unsqueeze(2)
        images = tokens.transpose(1, 2).unsqueeze(2)
        return conv2d(images, weight, self.conv1d.bias, groups=len(weight)).squeeze(2).transpose(1, 2)


def _first_time_steps(channels: int) -> Tensor:
    """Between 0.001 and 0.1, uniform in the logarithm."""
    low, high = math.log(1e-3), math.log(0.1)
    return torch.exp(torch.rand(channels) * (high - low) + low).clamp(min=1e-4)


def _inverse_softplus(value: Tensor) -> Tensor:
    return value + torch.log(-torch.expm1(-value))
