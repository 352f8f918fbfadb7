"""The viewer as its reader sees it: WebGL 2 computed by the processor, no request, right at the left."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from miniature.bright import blob, write_bright_checkpoint, write_nifti
from PIL import Image
from study.report.chromium import Page, chromium, find_chromium, webgl_missing

from oahier.pages.niivue import installed_niivue
from oahier.prediction import predict_scans

SHAPE, AFFINE = (30, 40, 44), np.diag([3.0, 1.5, 1.5, 1.0])
CANVAS = "document.getElementById('viewer-canvas')"
PLACE = "document.getElementById('viewer-place').textContent"


@pytest.fixture(scope="module", autouse=True)
def needed() -> None:
    """A browser and the extra; both are there where the tests must not be skipped."""
    missing = "no Chromium here" * (find_chromium() is None)
    missing = missing or "the extra viewer is not installed" * (installed_niivue() is None)
    if missing and os.environ.get("OAHIER_REQUIRE_CHROMIUM") == "1":
        pytest.fail(f"OAHIER_REQUIRE_CHROMIUM=1, and {missing}")
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a knee with a bright ball to the left, back and top, and cartilage to the right and front."""
    folder = tmp_path_factory.mktemp("viewer")
    checkpoint = write_bright_checkpoint(folder / "model.ckpt", shape=SHAPE, spacing=(3.0, 1.5, 1.5))
    write_nifti(folder / "mri.nii.gz", blob(SHAPE, AFFINE, (8, 10, 33), width=6), AFFINE)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[20:25, 27:34, 8:36] = 2
    write_nifti(folder / "cartilage.nii.gz", labels, AFFINE)
    (folder / "knees.csv").write_text(
        "knee,subject,side,mri,cartilage\nK1,S1,right,mri.nii.gz,cartilage.nii.gz\n"
    )
    predict_scans(checkpoint, folder / "knees.csv", folder / "out", device="cpu", viewer=True)
    return folder / "out" / "pages" / "K1.html"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with chromium(tmp_path / "profile", webgl=True) as page:
        if reason := webgl_missing(page, tmp_path):
            pytest.skip(reason)
        yield page


def opened(page: Page, path: Path, *, width: int = 1200, dark: bool = False) -> None:
    page.open(path, width=width, dark=dark)
    page.wait(f"{CANVAS}.dataset.drawn || {CANVAS}.dataset.failed", 120)
    assert page.run(f"{CANVAS}.dataset.failed") is None


def change(page: Page, name: str, value: object, event: str = "input") -> None:
    page.run(f"(() => {{ const item = document.getElementById('viewer-{name}'); item.value = '{value}';"
             f" item.dispatchEvent(new Event('{event}')); }})()")  # fmt: skip


def pixels(page: Page, folder: Path) -> np.ndarray:
    """The canvas, rows from top to bottom, in red, green and blue."""
    page.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    box = page.run(f"{CANVAS}.getBoundingClientRect().toJSON()")
    top = page.run("scrollY")
    clip = {"x": box["x"], "y": box["y"] + top, "width": box["width"], "height": box["height"]}
    content = page.screenshot(folder / "canvas.png", clip=clip).read_bytes()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def centre(mask: np.ndarray) -> tuple[float, float]:
    """Middle of the pixels of a mask, as shares from left to right and from top to bottom."""
    rows, columns = np.nonzero(mask)
    return columns.mean() / mask.shape[1], rows.mean() / mask.shape[0]


def cyan(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 1] - picture[..., 0] > 40) & (picture[..., 2] - picture[..., 0] > 40)


def heated(picture: np.ndarray) -> np.ndarray:
    """Magenta to yellow: red, and one of the others well below."""
    return (picture[..., 0] > 150) & (picture[..., 0] - picture[..., 1:].min(axis=-1) > 60)


def test_layers_places_and_sliders(page: Page, path: Path, tmp_path: Path) -> None:
    opened(page, path)
    start = page.run(PLACE)
    assert start.startswith("24.0 mm right, 15.0 anterior, 49.5 superior; saliency 1.00 of its maximum"), (
        start
    )
    change(page, "view", "AXIAL", "change")
    assert heated(pixels(page, tmp_path)).sum() > 500
    change(page, "saliency", 0)
    change(page, "cartilage", 1)
    picture = pixels(page, tmp_path)
    assert not heated(picture).any()
    across, down = centre(picture.min(axis=-1) > 150)
    assert across > 0.55, "a ball on the left of the body is at the right of the picture"
    assert down > 0.55, "a ball at the back is at the bottom"
    across, down = centre(cyan(picture))
    assert across < 0.45
    assert down < 0.45
    change(page, "view", "SAGITTAL", "change")
    across, down = centre(pixels(page, tmp_path).min(axis=-1) > 150)
    assert across > 0.55, "anterior is at the left"
    assert down < 0.45
    change(page, "cartilage", 0)
    change(page, "axis-0", 22.5 / 30)  # into the cartilage
    assert not cyan(pixels(page, tmp_path)).any()
    change(page, "axis-1", 30.5 / 40)
    assert page.run(PLACE).startswith("66.0 mm right, 45.0 anterior, 49.5 superior")
    assert page.run(PLACE).endswith("in cartilage")
    change(page, "cartilage", 0.6)
    assert cyan(pixels(page, tmp_path)).any()
    change(page, "mri", 0)
    change(page, "cartilage", 0)
    change(page, "view", "RENDER", "change")
    assert (pixels(page, tmp_path).max(axis=-1) > 250).mean() < 0.02, "nothing but lines and letters"


def test_faint_saliency_leaves_the_tissue_visible(page: Page, path: Path, tmp_path: Path) -> None:
    """As on the slices above the viewer: the colour of the maximum covers, that of a fifth of it tints."""
    opened(page, path)
    change(page, "view", "AXIAL", "change")
    covered = {}
    for opacity in (1, 0.5):
        change(page, "saliency", opacity)
        picture = pixels(page, tmp_path)
        tint = picture[..., 0] - picture[..., 1:].min(axis=-1)
        covered[opacity] = [((tint > low) & (tint <= high)).sum() for low, high in ((20, 90), (150, 255))]
    faint, full = covered[1]
    assert faint > 0.2 * full > 0, covered
    assert covered[0.5][1] == 0, covered


def test_no_key_changes_what_the_controls_say(page: Page, path: Path, tmp_path: Path) -> None:
    """NiiVue's keys for its views and clip planes would leave the menu above at another view."""
    opened(page, path)
    page.run(f"{CANVAS}.focus()")
    before = pixels(page, tmp_path)
    for key in "vcp":
        for kind in ("keyDown", "keyUp"):
            page._send("Input.dispatchKeyEvent", type=kind, key=key, code=f"Key{key.upper()}")
    assert (pixels(page, tmp_path) == before).all()


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_nothing_leaves_the_page(width: int, dark: bool, page: Page, path: Path) -> None:
    opened(page, path, width=width, dark=dark)
    assert page.run("document.documentElement.scrollWidth") <= width
    frame = page.run(f"{CANVAS}.getBoundingClientRect().toJSON()")
    assert frame["height"] < 0.85 * page.run("innerHeight"), "there is something beside it to scroll by"
    time.sleep(0.5)  # what an idle page might still ask for
    assert not page.problems
    assert all(request.startswith(("file:", "data:")) for request in page.requests)
    assert [request for request in page.requests if request.startswith("file:")] == [path.resolve().as_uri()]
    asked = "fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => error.message)"
    assert page.run(asked) == "Failed to fetch"
    assert any("Content Security Policy" in problem for problem in page.problems), "refused, not unanswered"


def test_a_browser_without_webgl_says_so(path: Path, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as page:
        webgl_missing(page, tmp_path)
        page._send(
            "Page.addScriptToEvaluateOnNewDocument",
            source="HTMLCanvasElement.prototype.getContext = () => null",
        )
        page.problems.clear()
        page.open(path)
        page.wait(f"{CANVAS}.dataset.failed")
        assert page.run(PLACE) == "This browser cannot show the viewer: it has no WebGL 2."
        assert page.run(f"{CANVAS}.checkVisibility()") is False
        assert page.run("document.getElementById('viewer-view').checkVisibility()") is False
        assert page.run("document.getElementById('heat').checkVisibility()") is True
        assert not page.problems


def test_paper_does_without(path: Path, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as page:
        page.open(path)
        page._send("Emulation.setEmulatedMedia", media="print")
        assert page.run("document.getElementById('viewer').checkVisibility()") is False
