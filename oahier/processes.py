"""Work on many items by other processes, ahead of whoever takes the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

Item = TypeVar("Item")
Result = TypeVar("Result")


def made_ahead(
    make: Callable[[Item], Result], items: Sequence[Item], workers: int, waiting: int = 2
) -> Iterator[Result]:
    """Results in the order of the items; random states are neither read nor advanced.

    Args:
        make: makes the result of an item; a function that other processes can load, as its results can be
            sent.
        items: what to work on.
        workers: processes, 0 for this one alone.
        waiting: results of each process that may lie finished.

    Raises:
        OSError: a process was killed, perhaps by the system for its memory.
    """
    count = min(workers, len(items))
    loader: Any = DataLoader(
        _Mapped(make, items), batch_size=None, num_workers=count, collate_fn=_as_is,
        prefetch_factor=waiting if count else None, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):  # of what was made
            raise
        raise OSError(f"a process was killed, perhaps for its memory: use fewer ({error})") from error


class _Mapped(Dataset[Result], Generic[Item, Result]):
    def __init__(self, make: Callable[[Item], Result], items: Sequence[Item]) -> None:
        self._make, self._items = make, items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Result:
        return self._make(self._items[index])


def _as_is(item: Any) -> Any:
    return item
