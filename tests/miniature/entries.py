"""Small entries of the cache, and what is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oahier.data.cache.entry import read_entry
from oahier.data.preprocessing import Preprocessing

SMALL = Preprocessing((8, 10, 12), (2.0, 1.5, 1.0))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def content(entry: Path) -> tuple[np.ndarray, np.ndarray | None]:
    read = read_entry(entry)
    return np.array(read.mri), None if read.cartilage is None else np.array(read.cartilage)
