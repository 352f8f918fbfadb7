"""The label hierarchy: a binary osteoarthritis (OA) decision above five Kellgren-Lawrence (KL) grades.

Radiographic OA is present from KL grade 2 on (Kellgren & Lawrence 1957, Ann Rheum Dis 16:494,
doi:10.1136/ard.16.4.494). This is the only place in the package that knows the threshold.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from oahier.types import MISSING

OA_FROM_GRADE = 2
"""The lowest KL grade that counts as radiographic OA."""


def oa_from_kl(kl: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """OA = 1 where KL >= 2, 0 below, ``MISSING`` where the grade is missing.

    >>> oa_from_kl(torch.tensor([0, 1, 2, 4, -1]))
    tensor([ 0,  0,  1,  1, -1])
    """
    return torch.where(kl == MISSING, MISSING, (kl >= OA_FROM_GRADE).to(kl.dtype))


def oa_probability_from_kl(probabilities: Float[Tensor, "batch grades"]) -> Float[Tensor, " batch"]:
    """Marginal probability of OA: ``P(OA) = sum over k >= 2 of P(KL = k)``.

    Args:
        probabilities: ``(batch, 5)`` grade probabilities.

    >>> p = torch.tensor([[0.1, 0.2, 0.3, 0.3, 0.1]])
    >>> round(oa_probability_from_kl(p).item(), 4)
    0.7
    """
    return probabilities[:, OA_FROM_GRADE:].sum(dim=1)


def contradicts(oa: Int[Tensor, "..."], kl: Int[Tensor, "..."]) -> Tensor:
    """True where both labels are known and OA is not what KL implies.

    >>> contradicts(torch.tensor([0, 1, 1, -1]), torch.tensor([0, 1, -1, 3])).tolist()
    [False, True, False, False]
    """
    return (oa != MISSING) & (kl != MISSING) & (oa != oa_from_kl(kl))


def decisions_agree(
    oa_probability: Float[Tensor, " batch"], kl_probabilities: Float[Tensor, "batch grades"]
) -> Tensor:
    """True where the OA decision (P >= 0.5) equals the one that the most probable KL grade implies.

    >>> kl = torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]])
    >>> decisions_agree(torch.tensor([0.9, 0.9]), kl).tolist()
    [True, False]
    """
    return (oa_probability >= 0.5) == (kl_probabilities.argmax(dim=1) >= OA_FROM_GRADE)


def hierarchy_gap(
    oa_probability: Float[Tensor, " batch"], kl_probabilities: Float[Tensor, "batch grades"]
) -> Float[Tensor, " batch"]:
    """Absolute difference between P(OA) and the OA probability implied by the grades.

    >>> gap = hierarchy_gap(torch.tensor([0.9]), torch.tensor([[0.2, 0.2, 0.2, 0.2, 0.2]]))
    >>> round(gap.item(), 4)
    0.3
    """
    return (oa_probability - oa_probability_from_kl(kl_probabilities)).abs()
