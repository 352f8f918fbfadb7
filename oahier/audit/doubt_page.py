"""Page of the most doubtful training labels, with a figure of each knee."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pandas as pd

from oahier.audit.findings import LABEL_NAMES
from oahier.audit.page import TEMPLATES
from oahier.audit.thumbnail import COLOURS, SIDE, knee_picture
from oahier.data import Manifest
from oahier.hierarchy import head_label
from oahier.images.knee import read_knee
from oahier.pages import render


def doubt_page(
    manifest: Manifest, table: pd.DataFrame, target: str, shown: int, *, known: str = "", warning: str = ""
) -> str:
    """The page as text.

    Args:
        manifest: of the knees.
        table: knees, the most doubtful first: ``knee, row, label, doubt, suggested``.
        target: column of the labels.
        shown: knees with a figure.
        known: a sentence on what the models know of the labels.
        warning: another one, where that is nothing.
    """
    position = {str(knee): at for at, knee in enumerate(manifest.table["knee"])}
    return render(
        TEMPLATES,
        "doubt.html",
        name=manifest.name,
        level=head_label(target),
        total=len(table),
        known=known,
        warning=warning,
        cards=[_card(manifest, position[row["knee"]], row) for _, row in table.head(shown).iterrows()],
        colours=[(LABEL_NAMES[label], "rgb({}, {}, {})".format(*rgb)) for label, rgb in COLOURS.items()],
        width=3 * SIDE + 8,
        height=SIDE,
    )


def _card(manifest: Manifest, position: int, row: pd.Series) -> dict[str, Any]:
    mri, cartilage = (manifest.file(position, column) for column in ("mri", "cartilage"))
    images = read_knee(mri, _existing(cartilage))[0] if mri is not None else None
    figure = b"" if images is None else knee_picture(images)
    return {
        **{str(name): value for name, value in row.items()},
        "figure": base64.b64encode(figure).decode("ascii"),
    }


def _existing(path: Path | None) -> Path | None:
    return path if path is not None and path.exists() else None
