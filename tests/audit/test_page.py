from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from oahier.audit import audit_manifest, page
from oahier.audit.thumbnail import COLOURS, SIDE, knee_picture
from oahier.images import Grid
from oahier.images import Image as Volume
from oahier.images.knee import KneeImages

Make = Callable[..., Any]
PICTURE = re.compile(r'src="data:image/jpeg;base64,([^"]+)"')


def test_a_page_that_stands_by_itself(cohort: Make, tmp_path: Path) -> None:
    knees = cohort(30)
    knees.rows[3]["knee"] = "<b"  # refused as a name, and must not become markup
    knees.rows[0]["side"] = "left"
    (knees.folder / "005.nii.gz").write_bytes(b"nothing")
    audit = audit_manifest(knees.write())
    text = audit.to_html(tmp_path / "audit.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text), "nothing is fetched"
    assert "<b" not in text.split("</style>")[1].replace("<b>", "").replace("<body", "").replace("<br", "")
    assert "&lt;b" in text
    pictures = [Image.open(io.BytesIO(base64.b64decode(found))) for found in PICTURE.findall(text)]
    flagged = {problem.knee for problem in audit.problems if problem.knee}
    assert len(pictures) == len(flagged) - 1 + min(page.SAMPLE, 30 - len(flagged))
    assert all(picture.size == (3 * SIDE + 8, SIDE) for picture in pictures)
    assert f"{len(pictures) + 1} of 30 knees" in text
    assert "no picture: the volume cannot be read" in text
    assert "row 2" in text
    assert 'href="#knee-0">000</a>: the table says left, the label map shows a right knee' in text
    for name in ("KL 4", "train", "femoral cartilage", "Grades by sex and split"):
        assert name in text


def test_its_size_is_bounded(cohort: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knees = cohort(30)
    for row in knees.rows:
        row["side"] = {"left": "right", "right": "left"}[row["side"]]
    audit = audit_manifest(knees.write())
    assert len(audit.of("error")) == 30
    size = len(audit.store.picture(audit.files(0))) * 4 / 3
    text = audit.to_html(tmp_path / "small.html", megabytes=4.5 * size / 1e6).read_text()
    shown = len(PICTURE.findall(text))
    assert 3 <= shown <= 5
    assert f"{shown} of 30 knees: those with findings ({30 - shown} more did not fit)" in text
    monkeypatch.setattr(page, "LISTED", 10)
    text = page.page(audit)
    assert len(re.findall("<li data-severity", text)) == 10
    assert "20 more findings are not on this page" in text


def test_a_page_of_the_table_alone(cohort: Make, tmp_path: Path) -> None:
    text = audit_manifest(cohort(10).write(), files=False).to_html(tmp_path / "table.html").read_text()
    assert "the image files were not read" in text
    assert not PICTURE.findall(text)
    (tmp_path / "bad.csv").write_text("name\nx\n")
    text = audit_manifest(tmp_path / "bad.csv").to_html(tmp_path / "bad.html").read_text()
    assert "missing column &#39;knee&#39;" in text


def test_a_picture_is_the_right_way_up() -> None:
    """Superior is up, anterior at the left, the patient's right at the left."""
    data = np.zeros((20, 30, 40), np.float32)
    data[10:, 15:, 20:] = 1  # right, anterior, superior
    volume = Volume(data, Grid(data.shape, np.eye(4)))
    picture = Image.open(io.BytesIO(knee_picture(KneeImages(volume, None)))).convert("L")
    bright = np.asarray(picture, float) > 128
    scale = SIDE / 40
    for number, (across, up) in enumerate([(30, 40), (20, 40), (20, 30)]):
        plane = bright[:, number * (SIDE + 4) :][:, :SIDE]
        rows, columns = np.nonzero(plane[:, 20:])  # without the letter at the edge
        assert rows.mean() == pytest.approx(SIDE / 2 - up / 4 * scale, abs=6)
        assert columns.mean() + 20 < SIDE / 2
        assert columns.max() + 20 == pytest.approx(SIDE / 2, abs=6)
        assert (SIDE - across * scale) / 2 < 60


def test_outlines_follow_the_labels() -> None:
    data = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    labels = np.zeros(data.shape, np.uint8)
    labels[5:35, 5:35, 22:32] = 2
    labels[5:18, 5:35, 8:18], labels[22:35, 5:35, 8:18] = 4, 5
    grid = Grid(data.shape, np.eye(4))
    picture = np.asarray(
        Image.open(io.BytesIO(knee_picture(KneeImages(Volume(data, grid), Volume(labels, grid))))), float
    )
    coronal = picture[:, SIDE + 4 : 2 * SIDE + 4]
    places = {}
    for label, colour in COLOURS.items():
        near = np.abs(coronal - np.array(colour)).sum(axis=2) < 90
        assert near.sum() > 100, label
        places[label] = np.argwhere(near).mean(axis=0)
    assert places[2][0] < places[4][0], "femoral above tibial"
    assert places[5][1] < places[4][1], "label 5 lies to the right, which is at the left"
