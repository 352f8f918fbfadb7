"""The viewer beside a report: on request, of the knees that the study kept."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from study.report.chromium import chromium, find_chromium, webgl_missing

from oahier.cli import main
from oahier.pages import niivue
from oahier.pages.niivue import Library, installed_niivue
from oahier.study.report import viewer_page, write_report


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        niivue, "installed_niivue", lambda: Library("globalThis.niivue = {};", "terms", "0.1")
    )


def knees_of(path: Path) -> list[dict[str, Any]]:
    found = re.search(r'id="viewer-data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found[1])["knees"]


def volume(text: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


@pytest.mark.usefixtures("library")
def test_only_on_request(small: Callable[..., Path]) -> None:
    study = small(shown=2)
    without = write_report(study).read_text(encoding="utf-8")
    assert not (study / "report" / "viewer.html").exists()
    page = write_report(study, viewer=True).read_text(encoding="utf-8")
    link = next(line for line in page.splitlines(keepends=True) if "viewer.html" in line)
    assert page.replace(link, "") == without
    knees = knees_of(study / "report" / "viewer.html")
    assert len(knees) == len(list((study / "knees").glob("*.npz")))
    for knee in knees:
        kept = np.load(study / "knees" / f"{knee['name']}.npz")
        mri = volume(knee["mri"])
        assert mri.shape == kept["mri"].shape
        np.testing.assert_allclose(mri.affine, kept["affine"], atol=1e-5)
        files = list((study / "cells").glob(f"*/saliency/*/{knee['name']}.nii.gz"))
        assert len({one["name"] for one in knee["maps"]}) == len(knee["maps"]) == len(files) == 3
        assert {np.asarray(volume(one["volume"]).dataobj).max() for one in knee["maps"]} == {255}
        frac = np.linalg.inv(kept["affine"]) @ [*knee["start"], 1]
        assert kept["cartilage"][tuple(frac[:3].round().astype(int))] in (0, 1), "inside the volume"


@pytest.mark.usefixtures("library")
def test_the_budget_is_of_all_knees(small: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer_page, "VOXELS", 4000)
    monkeypatch.setattr(viewer_page, "MAP_VOXELS", 1000)
    study = small(shown=2)
    write_report(study, viewer=True)
    knees = knees_of(study / "report" / "viewer.html")
    assert sum(np.prod(volume(knee["mri"]).shape) for knee in knees) <= 4000
    maps = [one["volume"] for knee in knees for one in knee["maps"]]
    assert sum(np.prod(volume(text).shape) for text in maps) <= 1000


@pytest.mark.usefixtures("library")
def test_a_study_without_volumes_has_none(small: Callable[..., Path]) -> None:
    study = small(shown=0)
    page = write_report(study, viewer=True).read_text(encoding="utf-8")
    assert "viewer.html" not in page
    assert not (study / "report" / "viewer.html").exists()


def test_without_the_extra_the_old_report_stays(
    small: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = small()
    before = write_report(study).read_bytes()
    monkeypatch.setattr(niivue, "installed_niivue", lambda: None)
    assert main(["study", "report", str(study), "--viewer"]) == 2
    assert "pip install 'oahier[viewer]'" in capsys.readouterr().err
    assert (study / "report" / "index.html").read_bytes() == before


def test_knees_and_maps_are_chosen_in_the_browser(small: Callable[..., Path], tmp_path: Path) -> None:
    missing = "no Chromium here" * (find_chromium() is None)
    missing = missing or "the extra viewer is not installed" * (installed_niivue() is None)
    if missing and os.environ.get("OAHIER_REQUIRE_CHROMIUM") == "1":
        pytest.fail(f"OAHIER_REQUIRE_CHROMIUM=1, and {missing}")
    if missing:
        pytest.skip(missing)
    path = write_report(small(shown=2), viewer=True).with_name("viewer.html")
    canvas = "document.getElementById('viewer-canvas').dataset"
    with chromium(tmp_path / "profile", webgl=True) as page:
        if reason := webgl_missing(page, tmp_path):
            pytest.skip(reason)
        page.open(path, width=400)
        for number, (name, index) in enumerate((("", 0), ("map", 1), ("knee", 1)), start=1):
            if name:
                item = f"document.getElementById('viewer-{name}')"
                page.run(f"{item}.selectedIndex = {index}; {item}.dispatchEvent(new Event('change'))")
            page.wait(f"{canvas}.drawn == {number} || {canvas}.failed", 120)
        assert page.run(f"{canvas}.failed") is None
        assert page.run("document.getElementById('viewer-map').selectedIndex") == 1, "kept for the next knee"
        assert page.run("document.documentElement.scrollWidth") <= 400
        assert not page.problems
        assert all(request.startswith(("file:", "data:")) for request in page.requests)
