"""What the pictures of an audit say about themselves."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from oahier.audit import audit_manifest
from oahier.audit.thumbnail import SIDE, knee_picture
from oahier.images import Grid
from oahier.images import Image as Volume
from oahier.images.knee import KneeImages


def test_colours_are_explained_where_there_are_some(cohort: Callable[..., Any], tmp_path: Path) -> None:
    knees = cohort(10)
    assert (
        "femoral cartilage</span>" in audit_manifest(knees.write()).to_html(tmp_path / "a.html").read_text()
    )
    for row in knees.rows:
        del row["cartilage"]
    text = audit_manifest(knees.write()).to_html(tmp_path / "b.html").read_text()
    assert 'class="legend"' not in text
    assert "femoral cartilage" not in text
    assert "data:image/jpeg" in text


def test_letters_can_be_read_on_black_and_on_white() -> None:
    """Cards show pictures at about two thirds of their size: letters of 9 pixels were 6."""
    for level in (0.0, 1.0):
        data = np.full((40, 40, 40), level, np.float32)
        data[:2, :2, :2] = 1 - level
        volume = Volume(data, Grid(data.shape, np.eye(4)))
        picture = Image.open(io.BytesIO(knee_picture(KneeImages(volume, None)))).convert("L")
        for number in range(3):
            edge = np.asarray(picture, float)[SIDE // 3 : -SIDE // 3, number * (SIDE + 4) :][:, :30]
            rows = np.nonzero((edge > 200).any(axis=1) if level == 0 else (edge < 60).any(axis=1))[0]
            assert np.ptp(rows) >= 14
            assert edge.min() < 60
            assert edge.max() > 200
