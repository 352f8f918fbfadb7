"""Memory for batches, used again as soon as nobody holds the last batch.

A full-size float32 volume is 94 MB. Asking the system for that much anew costs several times more than
filling it, since every page is cleared first.
"""

from __future__ import annotations

import weakref
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

_SMALLEST = 1 << 20
"""Below this many bytes the allocator itself keeps memory for later."""

_KEPT = 2
"""Free blocks kept per size."""


class BufferPool:
    """Uninitialised tensors whose memory returns to the pool when the last view of it is gone.

    >>> pool = BufferPool()
    >>> first = pool.empty((2, 1024, 1024), torch.float32)
    >>> address, view = first.data_ptr(), first[1]
    >>> del first
    >>> pool.empty((2, 1024, 1024), torch.float32).data_ptr() == address  # the view still needs it
    False
    >>> del view
    >>> pool.empty((2, 1024, 1024), torch.float32).data_ptr() == address
    True
    """

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = defaultdict(list)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor of any content; in a worker process it lies in shared memory, and is not copied again."""
        size = int(np.prod(shape)) * dtype.itemsize
        if get_worker_info() is not None:
            storage = torch.UntypedStorage._new_shared(size, device="cpu")
            return torch.empty(0, dtype=dtype).set_(storage).view(shape)
        if size < _SMALLEST:
            return torch.empty(shape, dtype=dtype)
        free = self._free[size]
        block = free.pop() if free else np.empty(size, dtype=np.uint8)
        lease = block[:]  # the tensor owns this array, and its end is the end of the lease
        weakref.finalize(lease, _give_back, free, block).atexit = False
        return torch.from_numpy(lease).view(dtype).view(shape)


def _give_back(free: list[np.ndarray], block: np.ndarray) -> None:
    if len(free) < _KEPT:
        free.append(block)
