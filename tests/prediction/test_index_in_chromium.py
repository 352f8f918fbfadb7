"""The list of predictions: what cannot be relied on is seen at once, on a phone and on paper, too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from miniature.bright import blob, write_bright_checkpoint, write_nifti
from study.report.chromium import Page, chromium, find_chromium

from oahier.latent.training_knees import EmbeddingReference
from oahier.prediction import predict_scans

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium here")

NAMES = ("wrongmask", "right-knee", "subject-9001234-V06-left")
LINES = """[...document.querySelectorAll('tbody th a')].map(link => {
  const range = document.createRange(); range.selectNodeContents(link);
  return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size; })"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Knees of which none is like the training knees."""
    folder = tmp_path_factory.mktemp("index")
    values = torch.randn(90, 1, generator=torch.Generator().manual_seed(0)) + 40
    grades = (values[:60, 0] - 38).round().long().clamp(0, 4)
    reference = EmbeddingReference.fit(values[:60], grades, (grades >= 2).long(), values[60:])
    checkpoint = write_bright_checkpoint(
        folder / "model.ckpt", shape=(12, 16, 16), spacing=(2.0, 2.0, 2.0), reference=reference
    )
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])).double().numpy()
    volume = blob((14, 16, 18), affine, (4, 5, 6), width=5)
    paths = [write_nifti(folder / f"{name}.nii.gz", volume, affine) for name in NAMES]
    predict_scans(checkpoint, [*paths, folder / "absent.nii.gz"], folder / "out", side="right", viewer=False)
    return folder / "out"


def box(page: Page, what: str) -> dict[str, float]:
    return page.run(f"document.querySelector({what!r}).getBoundingClientRect().toJSON()")


def test_a_narrow_window(folder: Path, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as page:
        page.open(folder / "index.html", width=420)
        assert page.run("document.documentElement.scrollWidth") <= 420
        assert page.run(LINES) == [1, 1, 1]
        name, warning = box(page, "tbody th a"), box(page, "tbody .flag")
        assert warning["right"] <= 420
        assert 0 <= warning["top"] - name["bottom"] < 40, "the warning stands beside the name"
        value = "tbody td[data-name='KL grade']"
        assert page.run(f'getComputedStyle(document.querySelector("{value}"), "::before").content') != "none"
        row, picture = box(page, "tbody tr"), box(page, "tbody img")
        assert row["height"] < picture["height"] + 320, "no row of empty space"
        assert picture["width"] > 300


def test_a_wide_window(folder: Path, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as page:
        page.open(folder / "index.html", width=1200)
        assert page.run(LINES) == [1, 1, 1]
        name, warning = box(page, "tbody th"), box(page, "tbody .flag")
        assert 0 <= warning["left"] - name["right"] < 40, "the warning stands beside the name"
        cell = page.run("document.querySelector('td[data-name=\"KL grade\"]').textContent")
        assert "not reliable here" in cell
        colours = page.run("""['KL grade', 'KL severity', 'P(OA)', 'percentile', 'p (unlike training)'].map(
            name => getComputedStyle(document.querySelector(`td[data-name="${name}"]`)).color)""")
        assert len(set(colours[:4])) == 1, colours
        assert colours[4] != colours[0], "the p value is what to rely on"


@pytest.mark.parametrize("name", ["index.html", "pages/wrongmask.html"])
def test_on_paper(name: str, folder: Path, tmp_path: Path) -> None:
    """Headings stay with what they head; rows and figures are not cut."""
    with chromium(tmp_path / "profile") as page:
        page.open(folder / name)
        page._send("Emulation.setEmulatedMedia", media="print")
        found = page.run("""[...document.querySelectorAll('h2, h3, tr, figure')].map(item => {
          const style = getComputedStyle(item);
          return /H./.test(item.tagName) ? style.breakAfter : style.breakInside; })""")
        assert set(found) == {"avoid"}
