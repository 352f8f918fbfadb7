"""The page in a real browser: no errors, no requests, a slider that moves, and something to see."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

_SPEC = importlib.util.spec_from_file_location("chromium", Path(__file__).with_name("chromium.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
driver = importlib.util.module_from_spec(_SPEC)
sys.modules["chromium"] = driver
_SPEC.loader.exec_module(driver)

PIXELS = "document.querySelectorAll('#browser-panels canvas')[%d].toDataURL()"
DRAWN = "Number(document.getElementById('browser-panels').dataset.drawn || 0)"


@pytest.fixture(scope="module")
def page(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if driver.find_chromium() is None:
        if os.environ.get("OAHIER_REQUIRE_CHROMIUM") == "1":
            pytest.fail("OAHIER_REQUIRE_CHROMIUM=1, and there is no Chromium on the path")
        pytest.skip("no Chromium on the path; install the package chromium or set OAHIER_CHROMIUM")
    with driver.chromium(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(report / "index.html")
        opened.wait(f"{DRAWN} > 0")
        yield opened


def move(page: Any, script: str) -> None:
    """Do something to the controls and wait until the slices are drawn again."""
    before = page.run(DRAWN)
    page.run(script)
    page.wait(f"{DRAWN} > {before}")


def test_it_loads_without_errors_and_asks_for_nothing(page: Any):
    assert page.run("document.querySelectorAll('.plot > svg').length") > 30
    assert page.run("document.querySelectorAll('.plot > svg title').length") > 60
    shown = "Array.from(document.querySelectorAll('main > section > .charts svg'))"
    assert min(page.run(f"{shown}.map((svg) => svg.getBBox().width)")) > 100
    assert page.problems == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in page.requests if url.startswith("file:")]) == 1


def test_letters_of_charts_are_legible_on_a_phone_and_a_screen(page: Any, report: Path):
    heights = (
        "Array.from(document.querySelectorAll('main > section > .charts svg text')).map((text) => {"
        " const {a, b} = text.getScreenCTM();"
        " return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(a, b); })"
    )
    for width in (360, 768, 1400):
        page.open(report / "index.html", width=width)
        page.wait(f"{DRAWN} > 0")
        found = page.run(heights)
        assert len(found) > 300
        assert min(found) > 9.5
        assert max(found) < 15


def test_charts_follow_the_colours_of_the_page(page: Any, report: Path):
    ink = (
        "(() => { const text = document.querySelector('.plot svg text'), style = getComputedStyle(text);"
        " return [style.fill, getComputedStyle(document.body).color]; })()"
    )
    found = []
    for dark in (True, False):
        page.open(report / "index.html", dark=dark)
        page.wait(f"{DRAWN} > 0")
        letters, page_ink = page.run(ink)
        assert letters == page_ink
        found.append(letters)
    assert found[0] != found[1]


def test_the_slider_moves_the_slices(page: Any):
    label = page.run("document.getElementById('browser-label').textContent")
    before = [page.run(PIXELS % number) for number in range(4)]
    set_slice = (
        "(() => { const slider = document.getElementById('browser-slice'); slider.value = %s;"
        " slider.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    move(page, set_slice % "Number(slider.value) + 3")
    assert page.run("document.getElementById('browser-label').textContent") != label
    after = [page.run(PIXELS % number) for number in range(4)]
    assert all(old != new for old, new in zip(before, after, strict=True))
    move(page, set_slice % "Number(slider.value) - 3")
    assert page.run("document.getElementById('browser-label').textContent") == label
    assert [page.run(PIXELS % number) for number in range(4)] == before


def test_controls_change_what_is_seen(page: Any):
    dual = 3  # MRI, Single-OA, Single-KL, Dual
    with_saliency = page.run(PIXELS % dual)
    move(page, "document.getElementById('browser-overlay').click()")
    without = page.run(PIXELS % dual)
    move(page, "document.getElementById('browser-outline').click()")
    bare = page.run(PIXELS % dual)
    assert len({with_saliency, without, bare}) == 3
    move(page, "document.querySelectorAll('#browser-controls input[name=plane]')[2].click()")
    assert page.run("document.getElementById('browser-label').textContent").startswith("axial")
    assert page.run("document.getElementById('browser-slice').max") == "23"
    move(page, "document.querySelectorAll('#browser-controls input[name=plane]')[0].click()")
    move(page, "document.getElementById('browser-overlay').click()")
    move(page, "document.getElementById('browser-outline').click()")
    assert page.run(PIXELS % dual) == with_saliency


def test_anterior_is_at_the_left_and_superior_above(page: Any):
    """The patella of the synthetic knee lies in front of the femur, above the joint."""
    move(page, "document.getElementById('browser-overlay').click()")
    move(page, "document.getElementById('browser-outline').click()")
    content = base64.b64decode(page.run(PIXELS % 0).partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"), dtype=float)
    height, width = pixels.shape
    grey = [
        pixels[round(y * height), round(x * width)] for x, y in ((0.15, 0.33), (0.85, 0.33), (0.15, 0.67))
    ]
    assert grey[0] > grey[1] + 40
    assert grey[0] > grey[2] + 40
    move(page, "document.getElementById('browser-overlay').click()")
    move(page, "document.getElementById('browser-outline').click()")


def test_what_is_folded_is_printed_but_for_sentences(page: Any):
    folded = "document.querySelectorAll('details:not([open])').length"
    before = page.run(folded)
    assert before > page.run("document.querySelectorAll('details.words').length") > 0
    page.run("window.dispatchEvent(new Event('beforeprint'))")
    assert page.run("document.querySelectorAll('details:not([open]):not(.words)').length") == 0
    assert page.run("document.querySelectorAll('details.words[open]').length") == 0
    page.run("window.dispatchEvent(new Event('afterprint'))")
    assert page.run(folded) == before


def test_tables_can_be_sorted(page: Any):
    click = "document.querySelector('#headline thead').rows[0].cells[2].querySelector('button').click()"
    values = (
        "Array.from(document.querySelectorAll('#headline table')[0].tBodies[0].rows)"
        ".map((row) => parseFloat(row.cells[2].textContent))"
    )
    page.run(click)
    up = page.run(values)
    page.run(click)
    assert page.run(values) == up[::-1] == sorted(up, reverse=True)


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (420, True)])
def test_screenshots_are_not_blank(page: Any, report: Path, tmp_path: Path, width: int, dark: bool):
    if dark:
        page.open(report / "index.html", width=width, dark=dark)
        page.wait(f"{DRAWN} > 0")
    page.run("document.querySelector('#methods-text p').append(' ' + 'f0'.repeat(64))")
    assert page.run("document.documentElement.scrollWidth") <= width  # no long word sticks out
    for name in ("headline", "comparisons", "browser"):
        box = page.run(
            f"(() => {{ const box = document.getElementById('{name}').getBoundingClientRect();"
            " return [box.left, box.top + scrollY, box.width, Math.min(box.height, 900)]; })()"
        )
        clip = dict(zip(("x", "y", "width", "height"), box, strict=True))
        pixels = np.asarray(Image.open(page.screenshot(tmp_path / "part.png", clip=clip)).convert("L"), float)
        assert pixels.std() > 8, name
        assert abs(np.median(pixels) - (24 if dark else 255)) < 30 or name == "browser"
    assert page.problems == []
