"""Floors of saliency: the image itself, other knees' masks, random weights.

Overlap with cartilage has a floor that is not zero: cartilage is bright and lies in the middle of the volume,
and so does most saliency. What is left above the floors is due to what was learned about *this* knee.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from oahier.saliency.interpolation import mask_footprint
from oahier.saliency.method import ExplainedKnees, SaliencyMethod


class InputItself(SaliencyMethod):
    """The positive voxels of the z-scored MRI: what a method finds that multiplies by the input blindly."""

    name = "input_itself"
    needs_grid = False

    @override
    def __call__(self, knees: ExplainedKnees) -> Tensor:
        return knees.mri[:, 0].relu()


@contextmanager
def random_weights(*modules: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Modules with weights drawn anew (:func:`randomised_parameters`), then again with their own, bit by bit.

    Tensors are exchanged, not written to, so nothing of an optimizer's or a checkpoint's is touched.
    """
    own: list[tuple[nn.Parameter, Tensor]] = []
    try:
        for module in modules:
            with torch.inference_mode(False):
                drawn = randomised_parameters(module, generator)
            for name, parameter in module.named_parameters():
                own.append((parameter, parameter.data))
                parameter.data = drawn[name]
        yield
    finally:
        for parameter, values in reversed(own):
            parameter.data = values


def mass_in_other_masks(
    saliency: Float[Tensor, "knees a b c"],
    footprints: Float[Tensor, "knees a b c"],
    cartilage_share: Float[Tensor, " knees"],
    shape: Sequence[int],
) -> tuple[Float[Tensor, " knees"], Float[Tensor, " knees"]]:
    """The shuffled-mask control: each map against the masks of all *other* knees.

    The mean over every other knee is the exact expectation of shuffling, so no random order is drawn and
    the result is the same on any number of processes.

    Args:
        saliency: ``(knees, a, b, c)`` maps on the feature grid, at least zero.
        footprints: ``(knees, a, b, c)`` from :func:`~oahier.saliency.interpolation.mask_footprint`.
        cartilage_share: ``(knees,)`` share of the volume that each mask covers.
        shape: the volume's grid.

    Returns:
        Mean mass in the other masks and mean enrichment over their shares, ``(knees,)`` float64 each. Knees
        whose mask is empty are no partners; NaN for a map that is zero or not finite, or without a partner.

    >>> saliency = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(2, 1, 1, 2)
    >>> masks = torch.tensor([[True, False], [True, False]]).view(2, 1, 1, 2)
    >>> mass, enrichment = mass_in_other_masks(
    ...     saliency, mask_footprint(masks, (1, 1, 2)), torch.tensor([0.5, 0.5]), (1, 1, 2)
    ... )
    >>> mass.tolist(), enrichment.tolist()
    ([1.0, 0.0], [2.0, 0.0])
    """
    maps, seen, share = saliency.double().flatten(1), footprints.double().flatten(1), cartilage_share.double()
    everything = mask_footprint(torch.ones((1, *shape), dtype=torch.bool), saliency.shape[1:])
    total = maps @ everything.double().flatten().to(maps.device)
    usable = total.isfinite() & (total > 0)
    partner = (share > 0) & seen.isfinite().all(dim=1)
    allowed = partner[None] & ~torch.eye(len(maps), dtype=torch.bool, device=maps.device)
    mass = maps.nan_to_num() @ seen.nan_to_num().T / total[:, None]
    count = allowed.sum(dim=1)
    result = []
    for values in (mass, mass / share):
        mean = values.masked_fill(~allowed, 0).sum(dim=1) / count
        result.append(torch.where(usable & (count > 0), mean, math.nan))
    return result[0], result[1]


def randomised_parameters(module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights of a module drawn anew, for the randomisation control (Adebayo et al. 2018, arXiv:1810.03292).

    Each parameter is replaced by normal draws with its own mean and standard deviation, so the scale of the
    scores stays. The module itself is not changed: pass the result to ``torch.func.functional_call``.

    Args:
        module: a head, for instance.
        generator: source of the draws, on the CPU.

    >>> head = nn.Linear(3, 2)
    >>> drawn = randomised_parameters(head, torch.Generator().manual_seed(0))
    >>> sorted(drawn), bool((drawn["weight"] != head.weight).all())
    (['bias', 'weight'], True)
    """
    drawn = {}
    for name, parameter in module.named_parameters():
        values = parameter.detach()
        noise = torch.randn(values.shape, generator=generator).to(values)
        drawn[name] = values.mean() + noise * values.std(correction=0)
    return drawn
