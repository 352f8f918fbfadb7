"""Agreement of maps: cascading randomisation, repeated volumes, and the floor of random pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from oahier.saliency.controls import random_weights


def map_agreement(
    first: Float[Tensor, "batch ..."], second: Float[Tensor, "batch ..."]
) -> Float[Tensor, " batch"]:
    """Spearman correlation of two maps over their voxels, knee by knee; NaN for a constant map.

    >>> first = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> map_agreement(first, -first).round().tolist()
    [-1.0]
    """
    from scipy.stats import rankdata

    ranks = [rankdata(item.detach().flatten(1).double().cpu().numpy(), axis=1) for item in (first, second)]
    centred = [rank - rank.mean(axis=1, keepdims=True) for rank in ranks]
    lengths = [np.sqrt((rank**2).sum(axis=1)) for rank in centred]
    product = np.where(lengths[0] * lengths[1] > 0, lengths[0] * lengths[1], np.nan)
    return torch.from_numpy((centred[0] * centred[1]).sum(axis=1) / product)


def random_pairs(maps: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
    """Mean agreement of each knee's map with those of all other knees: the floor of every agreement.

    Knees have their joint in the same place, so that any two maps of one method agree to a degree.
    """
    others = [map_agreement(maps, maps.roll(shift, dims=0)) for shift in range(1, len(maps))]
    return torch.stack(others).nanmean(dim=0) if others else torch.full((len(maps),), torch.nan).double()


def cascading_randomisation(
    explain: Callable[[], Float[Tensor, "batch ..."]],
    modules: Mapping[str, nn.Module],
    *,
    generator: torch.Generator,
) -> dict[str, Float[Tensor, " batch"]]:
    """Agreement of maps with those of a network whose weights are drawn anew, from the head backwards.

    Adebayo et al. 2018 (arXiv:1810.03292): a map that explains what was learned loses its agreement, down to
    the floor of :func:`random_pairs`; one that does not shows the image or the architecture.

    Args:
        explain: makes the maps of some knees, from their volumes on, with the weights of the moment.
        modules: in the order in which they are drawn anew, each together with all before it.
        generator: of the draws.

    Returns:
        Agreement of each knee by module. The modules have their own weights again afterwards.
    """
    original, found = explain(), {}
    for count, name in enumerate(modules, start=1):
        with random_weights(*list(modules.values())[:count], generator=generator):
            found[name] = map_agreement(original, explain())
    return found


def repeatability(
    explain: Callable[[Tensor], Float[Tensor, "batch i j k"]],
    volume: Float[Tensor, "batch 1 i j k"],
    *,
    generator: torch.Generator,
    noise: float = 0.1,
    shift: int = 2,
) -> Float[Tensor, " batch"]:
    """Agreement of the maps of one knee that is augmented twice, by noise and a shift that is taken back.

    Args:
        explain: volumes to maps at the size of the volume.
        volume: z-scored.
        generator: of noise and shifts, on the CPU.
        noise: standard deviation of the noise.
        shift: most voxels along each axis; those that leave at one end come back at the other.
    """
    maps = []
    for _ in range(2):
        moves: Sequence[int] = torch.randint(-shift, shift + 1, (3,), generator=generator).tolist()
        noisy = volume + noise * torch.randn(volume.shape, generator=generator).to(volume)
        moved = explain(noisy.roll(list(moves), dims=(2, 3, 4)))
        maps.append(moved.roll([-move for move in moves], dims=(1, 2, 3)))
    return map_agreement(*maps)
