"""Collecting values per knee over an epoch, on every process, into one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import lightning as L
    import numpy.typing as npt


@dataclass(frozen=True)
class EpochTable:
    """One row per knee, sorted by knee; the same on every process.

    ``table["embedding"]`` is a CPU tensor ``(knees, ...)``; half-precision columns come as float32.
    """

    knee: list[str]
    subject: list[str]
    columns: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.knee)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self.columns[name]
        except KeyError:
            raise KeyError(f"no column {name!r} in this epoch; there are {sorted(self.columns)}") from None


class EpochRecords:
    """Keeps what each step yields per knee and joins it once, at the end of the epoch.

    Adding costs one small copy on the device that holds the values; nothing is sent or synchronised
    until :meth:`gather`.

    >>> records = EpochRecords()
    >>> records.add(knee=["b", "a"], subject=["2", "1"], severity=torch.tensor([3.0, 1.0]))
    >>> records.add(knee=["b"], subject=["2"], severity=torch.tensor([3.0]))
    >>> table = records.gather()
    >>> table.knee, table["severity"].tolist()
    (['a', 'b'], [1.0, 3.0])
    """

    def __init__(self) -> None:
        self._knee: list[str] = []
        self._subject: list[str] = []
        self._columns: dict[str, list[Tensor]] = {}

    def __len__(self) -> int:
        """Rows added on this process, duplicates included."""
        return len(self._knee)

    def add(
        self,
        *,
        knee: Sequence[str],
        subject: Sequence[str],
        **columns: Tensor | npt.NDArray[Any] | Sequence[float],
    ) -> None:
        """Add a batch.

        Args:
            knee: knee ids, one a row.
            subject: subject ids, one a row.
            columns: values whose first axis is the batch. Names that are no identifiers (``"kl/severity"``)
                are passed with ``**{...}``.

        Raises:
            ValueError: a column has another number of rows, or the columns differ from those of the
                batches before.
        """
        values = {name: torch.as_tensor(column).detach() for name, column in columns.items()}
        if len(subject) != len(knee):
            raise ValueError(
                f"EpochRecords.add: expected {len(knee)} subjects (one a knee), got {len(subject)}"
            )
        for name, value in values.items():
            if value.ndim == 0 or len(value) != len(knee):
                raise ValueError(
                    f"EpochRecords.add: column {name!r} must have {len(knee)} rows (one a knee), "
                    f"got shape {tuple(value.shape)}"
                )
        if self._knee and set(values) != set(self._columns):
            raise ValueError(
                f"EpochRecords.add: expected the columns of earlier batches {sorted(self._columns)}, "
                f"got {sorted(values)}; use NaN or MISSING for values that a knee does not have"
            )
        self._knee.extend(knee)
        self._subject.extend(subject)
        for name, value in values.items():
            self._columns.setdefault(name, []).append(value.clone())

    def clear(self) -> None:
        """Forget everything."""
        self._knee.clear()
        self._subject.clear()
        self._columns.clear()

    def gather(self, trainer: L.Trainer | None = None) -> EpochTable:
        """Join the rows of all processes; a knee that came more than once counts once.

        The distributed sampler repeats knees to give every process as many; their last record is kept.
        The records stay until :meth:`clear`.

        Args:
            trainer: asked for the number of processes. With more than one, **every** process must call
                this, also one that has no rows; without a trainer, this process's rows are the table.
        """
        parts = [self._local()]
        if trainer is not None and trainer.world_size > 1:
            parts = _all_gather(parts[0], trainer.world_size)
        return _join(parts)

    def _local(self) -> _Part:
        columns = {name: _as_array(torch.cat(values)) for name, values in self._columns.items()}
        return self._knee, self._subject, columns


_Part = tuple[list[str], list[str], dict[str, "npt.NDArray[Any]"]]


def _as_array(values: Tensor) -> npt.NDArray[Any]:
    values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    array: npt.NDArray[Any] = values.cpu().numpy()
    return array


def _all_gather(part: _Part, world_size: int) -> list[_Part]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        raise RuntimeError(
            f"EpochRecords.gather: the trainer has {world_size} processes but torch.distributed "
            "is not initialised; use a strategy of the DDP kind"
        )
    parts: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(parts, part)
    return parts


def _join(parts: Sequence[_Part]) -> EpochTable:
    filled = [part for part in parts if part[0]]
    if not filled:
        return EpochTable([], [], {})
    knee = [name for part in filled for name in part[0]]
    subject = [name for part in filled for name in part[1]]
    last = {name: row for row, name in enumerate(knee)}
    rows = [last[name] for name in sorted(last)]
    order = np.asarray(rows)
    with torch.inference_mode(False):  # tests run in inference mode, but later analyses may differentiate
        columns = {
            name: torch.from_numpy(np.concatenate([part[2][name] for part in filled])[order])
            for name in filled[0][2]
        }
    return EpochTable([knee[row] for row in rows], [subject[row] for row in rows], columns)
