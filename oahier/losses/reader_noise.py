"""Criterion that knows how readers err (forward correction), for one reading of a knee or several."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from oahier.losses.criterion import Criterion
from oahier.losses.readers import Reader
from oahier.types import Labels, LogProbabilities, RowLosses, TrainingFacts, is_known


class ReaderNoise(Criterion):
    r"""Likelihood of what readers wrote, given the probabilities of the truth that a head states.

    :math:`-\log \sum_i p_i \prod_r T_r[i, y_r]` over the readings r that a knee has. The head learns the
    truth: its probabilities are not corrected, its loss is (forward correction: Patrini et al. 2017,
    arXiv:1609.03683; several readers of one truth: Dawid & Skene 1979, doi:10.2307/2346806).

    Args:
        readers: one, or one for each target column of the head, in order; a single one stands for all.
        criterion: another loss, of the probabilities :math:`\sum_i p_i T_r[i, j]` of each reading, the mean
            over readings; it has to read log-probabilities.

    Raises:
        ValueError: no reader, or a criterion that reads logits.

    >>> from oahier.losses import KnownReader
    >>> noise = ReaderNoise(KnownReader([[0.9, 0.1], [0.2, 0.8]]))
    >>> round(noise.loss(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([1])).exp().item(), 4)  # 1 / .45
    2.2222
    """

    def __init__(self, readers: Reader | Sequence[Reader], criterion: Criterion | None = None) -> None:
        super().__init__()
        given = [readers] if isinstance(readers, Reader) else list(readers)
        if not given or not all(isinstance(reader, Reader) for reader in given):
            raise ValueError(f"ReaderNoise: readers: expected an oahier Reader or several, got {readers!r}")
        if criterion is not None and criterion.reads_as != "log_probabilities":
            raise ValueError(
                f"ReaderNoise: {type(criterion).__name__} reads logits, which a reader matrix cannot "
                "correct; use a criterion that reads log-probabilities, such as CrossEntropy"
            )
        self.readers, self.criterion = nn.ModuleList(given), criterion

    def build(self, num_classes: int) -> None:
        for part in (*self.readers, *([] if self.criterion is None else [self.criterion])):
            part.build(num_classes)

    def prepare(self, facts: TrainingFacts) -> None:
        self._matrices(max(1, len(facts.targets)))
        if self.criterion is not None:
            self.criterion.prepare(facts)

    def row_losses(self, scores: LogProbabilities, labels: Labels) -> RowLosses:
        return self.reading_losses(scores, labels[:, None])

    def reading_losses(self, scores: LogProbabilities, readings: Tensor) -> RowLosses:
        matrices = [matrix.to(scores) for matrix in self._matrices(readings.shape[1])]
        known = is_known(readings)
        if self.criterion is None:
            joint = scores
            for matrix, label, exists in zip(matrices, readings.clamp(min=0).T, known.T, strict=True):
                joint = joint + torch.where(exists[:, None], matrix.T[label], 0.0)
            rows = -joint.logsumexp(dim=1)
            if len(matrices) > 1 and bool(rows.isposinf().any()):
                raise ValueError(
                    "ReaderNoise: a knee has readings in different blocks, which these readers cannot both "
                    "have written; correct the readings, or give readers without blocks"
                )
        else:
            rows = scores.new_zeros(len(scores))
            for matrix, label, exists in zip(matrices, readings.T, known.T, strict=True):
                read = (scores[exists, :, None] + matrix).logsumexp(dim=1)
                rows = rows.index_put(
                    (exists,), self.criterion.row_losses(read, label[exists]), accumulate=True
                )
            rows = rows / known.sum(dim=1)
        for reader in self.readers:
            rows = rows + reader.penalty()  # type: ignore[operator]
        return rows

    def _matrices(self, count: int) -> list[Tensor]:
        made = [reader.log_matrix() for reader in self.readers]  # type: ignore[operator]
        if len(made) not in (1, count):
            raise ValueError(
                f"ReaderNoise: {len(made)} readers, but the head learns from {count} reading(s) of a knee; "
                "give the head one target column a reader, such as target=['kl', 'kl_2'], or give one reader"
            )
        return made * count if len(made) == 1 else made
