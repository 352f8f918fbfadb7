"""Choice of one DICOM series in a folder."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oahier.images.dicom import Series


def choose_series(
    folder: Path, pattern: re.Pattern[str], insist: Collection[str] = ()
) -> tuple[Path, Series | None]:
    """The one DICOM series of a tree whose description or protocol matches.

    Args:
        folder: looked into with all its folders.
        pattern: of the description; an empty one matches all.
        insist: as for :func:`~oahier.images.dicom.find_series`.

    Returns:
        the folder of the series, and the series itself if other ones lie in that folder.

    Raises:
        ValueError: no series matches, or several; names them.
    """
    from oahier.images.dicom import find_series

    series = find_series(folder, insist=insist)
    chosen = [item for item in series if pattern.search(item.description) or pattern.search(item.protocol)]
    if not series:
        raise ValueError(
            f"{folder.name}: expected an image or a folder with a DICOM series, found none in it"
        )
    if len(chosen) != 1:
        listed = ", ".join(
            f"{item.description or 'without description'!r} ({len(item.files)} files)" for item in series[:6]
        )
        more = f" and {len(series) - 6} more" if len(series) > 6 else ""
        given = pattern.pattern
        matching = f"{len(chosen)} match {given!r}" if given else "choose one with --series"
        raise ValueError(f"{folder.name}: expected one DICOM series, {matching}; there are {listed}{more}")
    item = chosen[0]
    alone = sum(other.folder == item.folder for other in series) == 1
    return item.folder, None if alone else item
