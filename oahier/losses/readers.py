"""Readers of labels as matrices of a model: known, or learned with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from oahier.noise.matrices import checked_matrix, same_block
from oahier.specs import Specified
from oahier.types import Scalar


class Reader(Specified, nn.Module, ABC):
    """A reader, as the matrix ``T[i, j] = P(reads j | truth i)`` of its logarithms."""

    def build(self, num_classes: int) -> None:
        """Take the number of classes; the criterion calls this when it is built."""

    @abstractmethod
    def log_matrix(self) -> Float[Tensor, "true read"]:
        """Logarithms of the matrix; -inf where a reading is impossible."""

    def penalty(self) -> Scalar:
        """A part of the loss that depends on the reader alone, added to every row."""
        return torch.zeros(())


class KnownReader(Reader):
    """A reader whose matrix is known, from readings of a reference standard for example.

    Args:
        matrix: ``(true, read)``, rows sum to one.
        blocks: block of each class, where the reader never leaves that of the truth; checked.

    Raises:
        ValueError: see :func:`oahier.noise.checked_matrix`.

    >>> KnownReader([[0.75, 0.25], [0.5, 0.5]]).log_matrix().exp()[1].tolist()
    [0.5, 0.5]
    """

    log_t: Tensor

    def __init__(self, matrix: Sequence[Sequence[float]], blocks: Sequence[int] | None = None) -> None:
        super().__init__()
        self.blocks = blocks
        self.register_buffer("log_t", torch.tensor(checked_matrix(matrix, blocks=blocks)).log().float())

    def build(self, num_classes: int) -> None:
        checked_matrix(self.log_t.exp().tolist(), num_classes, self.blocks)

    def log_matrix(self) -> Float[Tensor, "true read"]:
        return self.log_t


class LearnedReader(Reader):
    r"""A reader whose matrix is learned with the model and kept small in volume.

    :math:`T_{ij} = U_{ij} / \sum_k U_{ik}` inside the blocks, with :math:`U_{ii} = 1` and :math:`U_{ij} =
    \sigma(s + g w_{ij})`, so that no wrong class is read more often than the true one; the penalty
    :math:`\lambda \log(|\det T| + 10^{-6})` prefers the smallest simplex of reader rows that explains the
    readings (VolMinNet: Li et al. 2021, arXiv:2102.02414, eq. 5 and section 3.3).

    Args:
        blocks: block of each class that the reader never leaves; None for a full matrix.
        agreement: diagonal that learning starts from, where a block has several classes; just above that of
            guessing if it is below.
        volume: weight :math:`\lambda` of the penalty.
        gain: :math:`g`; the matrix learns that much faster than other weights under Adam.

    Raises:
        ValueError: an agreement outside (0, 1), a negative volume, or a gain that is not positive.
    """

    start: Tensor

    def __init__(
        self,
        blocks: Sequence[int] | None = None,
        agreement: float = 0.8,
        volume: float = 1e-4,
        gain: float = 10.0,
    ) -> None:
        super().__init__()
        if not (0 < agreement < 1 and volume >= 0 and gain > 0):
            raise ValueError(
                "LearnedReader: expected an agreement in (0, 1), a volume >= 0 and a gain > 0, "
                f"got {agreement}, {volume} and {gain}"
            )
        self.blocks, self.agreement, self.volume, self.gain = blocks, agreement, volume, gain

    def build(self, num_classes: int) -> None:
        inside = torch.from_numpy(same_block(self.blocks, num_classes))
        others = (inside.sum(dim=1, keepdim=True) - 1).clamp(min=1)
        ratio = ((1 - self.agreement) / self.agreement / others).clamp(max=0.95)
        self.register_buffer("start", torch.where(inside, ratio.logit(), -torch.inf).float())
        self.weight = nn.Parameter(torch.zeros(num_classes, num_classes))
        self.weight._no_weight_decay = True  # type: ignore[attr-defined]

    def log_matrix(self) -> Float[Tensor, "true read"]:
        wrong = nn.functional.logsigmoid(self.start + self.gain * self.weight)
        right = torch.eye(len(wrong), dtype=torch.bool, device=wrong.device)
        return wrong.masked_fill(right, 0.0).log_softmax(dim=1)

    def penalty(self) -> Scalar:
        volume: Tensor = torch.linalg.det(self.log_matrix().exp()).abs()
        return self.volume * (volume + 1e-6).log()
