"""Saliency from the gradient with respect to the volume: the encoder runs forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def smoothgrad_times_input(
    score: Callable[[Tensor], Tensor],
    volume: Float[Tensor, "batch 1 i j k"],
    *,
    generator: torch.Generator | Sequence[torch.Generator],
    draws: int = 8,
    sigma: float = 0.05,
) -> Float[Tensor, "batch i j k"]:
    r"""SmoothGrad x input, the saliency of arXiv:2605.00718.

    :math:`x \odot \frac1n \sum_{d=1}^{n} \nabla s(x + \varepsilon_d)`,
    :math:`\varepsilon_d \sim N(0, \sigma^2)` (Smilkov et al. 2017, arXiv:1706.03825). Costs ``draws``
    forward and backward passes. No ``.grad`` is touched; the model must be in evaluation mode.

    Args:
        score: volume ``(batch, 1, i, j, k)`` to one number a knee, ``(batch,)``.
        volume: ``(batch, 1, i, j, k)`` z-scored; may be an inference tensor.
        generator: source of the noise, or one generator a knee, which makes the result of a knee
            independent of the batch that it comes in. Noise is drawn on the generator's device.
        draws: number of noisy copies.
        sigma: standard deviation of the noise in units of the volume.

    Returns:
        ``(batch, i, j, k)`` signed attribution; its absolute value is the saliency.

    Raises:
        ValueError: no draws, a negative sigma, or a number of generators that is not the batch size.

    >>> volume = torch.full((1, 1, 1, 1, 2), 3.0)
    >>> attribution = smoothgrad_times_input(
    ...     lambda x: x[..., 0].sum((1, 2, 3)), volume, generator=torch.Generator()
    ... )
    >>> attribution.tolist()
    [[[[3.0, 0.0]]]]
    """
    if draws < 1 or sigma < 0:
        raise ValueError(f"expected draws >= 1 and sigma >= 0, got draws={draws} and sigma={sigma}")
    generators = [generator] if isinstance(generator, torch.Generator) else list(generator)
    if not isinstance(generator, torch.Generator) and len(generators) != len(volume):
        raise ValueError(f"generator: expected one, or {len(volume)} (one a knee), got {len(generators)}")
    total = torch.zeros_like(volume)
    with torch.inference_mode(False), torch.enable_grad():
        for _ in range(draws):
            noisy = (volume.clone() + sigma * _noise(volume, generators)).requires_grad_()
            (gradient,) = torch.autograd.grad(score(noisy).sum(), noisy)
            total = total + gradient
    return (total / draws * volume)[:, 0].detach()


def _noise(volume: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    shape = volume.shape if len(generators) == 1 else volume.shape[1:]
    parts = [
        torch.randn(shape, generator=each, device=each.device, dtype=volume.dtype) for each in generators
    ]
    noise = parts[0] if len(parts) == 1 else torch.stack(parts)
    return noise.to(volume.device)
