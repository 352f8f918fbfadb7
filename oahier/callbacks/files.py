"""File formats of the callbacks, each written in one step (see :func:`oahier.files.write_atomically`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from oahier.files import write_atomically, write_json, write_rows

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure

__all__ = ["knee_file", "write_arrays", "write_atomically", "write_figure", "write_json", "write_rows"]

_LONGEST = 200
"""Characters of a name; file systems allow 255, with what is put around it."""


def knee_file(knee: str) -> str:
    """A knee id as the name of a file, without its ending; ``urllib.parse.unquote`` gives the id.

    Letters beyond ASCII become six characters or more; where a name gets too long for a file they stay.

    >>> knee_file("9001/left"), len(knee_file("膝" * 40))
    ('9001%2Fleft', 40)
    """
    name = quote(knee, safe="")
    if len(name) <= _LONGEST:
        return name
    return "".join(quote(letter, safe="") if letter.isascii() else letter for letter in knee)


def write_arrays(path: Path, **arrays: npt.NDArray[Any]) -> Path:
    """Write an ``.npz`` that loads without pickle.

    Raises:
        ValueError: an array of Python objects, which only pickle could write.
    """
    objects = [name for name, array in arrays.items() if array.dtype.hasobject]
    if objects:
        raise ValueError(f"{path}: arrays {objects} hold Python objects; give numbers or fixed-width strings")

    def save(temporary: Path) -> None:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]  # numpy's stub reads ** as allow_pickle

    return write_atomically(path, save)


def write_figure(path: Path, figure: Figure) -> Path:
    """Write a picture with Agg, whatever backend the user's session has."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)

    def save(temporary: Path) -> None:
        figure.savefig(temporary)

    return write_atomically(path, save)
