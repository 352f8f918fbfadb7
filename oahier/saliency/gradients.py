"""Saliency from the gradient with respect to the volume: the encoder runs forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from oahier.progress import steps
from oahier.saliency.blur import local_mean
from oahier.saliency.method import ExplainedKnees, SaliencyMethod


class SmoothGrad(SaliencyMethod):
    """SmoothGrad x input in absolute value, as in arXiv:2605.00718 (:func:`smoothgrad_times_input`).

    Args:
        draws: number of noisy copies.
        sigma: standard deviation of the noise in units of the volume.
        times_input: with the factor input, which brings out what is bright before anything is learned;
            without it the map is the mean gradient's absolute value.
    """

    needs_grid = False

    def __init__(self, draws: int = 8, sigma: float = 0.05, *, times_input: bool = True) -> None:
        self.draws, self.sigma, self.times_input = draws, sigma, times_input
        self.name = "smoothgrad" if times_input else "smoothgrad_gradient"
        self.passes = f"{draws} forward and backward"

    @override
    def __call__(self, knees: ExplainedKnees) -> Tensor:
        options: dict[str, Any] = {"draws": self.draws, "sigma": self.sigma, "generator": knees.generators}
        function = smoothgrad_times_input if self.times_input else _smoothgrad
        return function(knees.of_volume, knees.volume, **options).abs()


class IntegratedGradients(SaliencyMethod):
    r"""Integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365), midpoint rule, absolute value.

    :math:`(x - b) \odot \frac1n \sum_{d=1}^{n} \nabla s(b + \frac{d - 1/2}{n} (x - b))`.

    Args:
        steps: points of the path.
        times_input: with the factor :math:`x - b`; without it the mean gradient along the path.
        smoothing: the baseline :math:`b` is the volume averaged over this share of its axes, which stays
            inside the anatomy; 0 for a baseline of zeros.
    """

    needs_grid = False

    def __init__(self, steps: int = 8, *, times_input: bool = True, smoothing: float = 0.15) -> None:
        self.steps, self.times_input, self.smoothing = steps, times_input, smoothing
        self.name = "integrated_gradients" if times_input else "integrated_gradients_gradient"
        self.passes = f"{steps} forward and backward"

    @override
    def __call__(self, knees: ExplainedKnees) -> Tensor:
        return self.attribution(knees.of_volume, knees.volume).abs()

    def attribution(
        self, score: Callable[[Tensor], Tensor], volume: Float[Tensor, "batch 1 i j k"]
    ) -> Float[Tensor, "batch i j k"]:
        """Signed; with the factor, its sum is the score of the volume minus that of the baseline."""
        with torch.inference_mode(False):
            volume = volume.clone()
            start = local_mean(volume, self.smoothing) if self.smoothing > 0 else torch.zeros_like(volume)
            path = volume - start
            total = torch.zeros_like(volume)
            for step in steps(range(self.steps)):
                total += _gradient(score, start + (step + 0.5) / self.steps * path)
            total /= self.steps
            return (total * path if self.times_input else total)[:, 0]


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
    return _smoothgrad(score, volume, generator=generator, draws=draws, sigma=sigma) * volume[:, 0]


def _smoothgrad(
    score: Callable[[Tensor], Tensor],
    volume: Float[Tensor, "batch 1 i j k"],
    *,
    generator: torch.Generator | Sequence[torch.Generator],
    draws: int,
    sigma: float,
) -> Float[Tensor, "batch i j k"]:
    """The mean gradient over noisy copies."""
    if draws < 1 or sigma < 0:
        raise ValueError(f"expected draws >= 1 and sigma >= 0, got draws={draws} and sigma={sigma}")
    generators = [generator] if isinstance(generator, torch.Generator) else list(generator)
    if not isinstance(generator, torch.Generator) and len(generators) != len(volume):
        raise ValueError(f"generator: expected one, or {len(volume)} (one a knee), got {len(generators)}")
    total = torch.zeros_like(volume)
    with torch.inference_mode(False):
        for _ in steps(range(draws)):
            total = total + _gradient(score, volume.clone() + sigma * _noise(volume, generators))
    return (total / draws)[:, 0].detach()


def _gradient(score: Callable[[Tensor], Tensor], volume: Tensor) -> Tensor:
    with torch.enable_grad():
        free = volume.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(free).sum(), free)
    return gradient.detach()


def _noise(volume: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    shape = volume.shape if len(generators) == 1 else volume.shape[1:]
    parts = [
        torch.randn(shape, generator=each, device=each.device, dtype=volume.dtype) for each in generators
    ]
    noise = parts[0] if len(parts) == 1 else torch.stack(parts)
    return noise.to(volume.device)
