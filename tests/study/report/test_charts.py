"""Charts are drawn once: what the page shows are the panels of the figures beside it."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from oahier.pages.charts import drawn
from oahier.study.report import maps, write, write_report
from oahier.study.report.contents import read_contents

SVG = "{http://www.w3.org/2000/svg}"
FIGURES = write._figures


@pytest.fixture(scope="module")
def slices(html):
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg .*?</svg>", html, re.DOTALL)]


def notes(element):
    return [title.text or "" for title in element.iter(f"{SVG}title")]


def test_every_panel_of_every_figure_is_on_the_page_and_shows_the_same(report, slices):
    shown = [note for element in slices for note in notes(element)]
    filed = []
    for path in sorted((report / "figures").glob("*.svg")):
        filed += notes(ElementTree.parse(path).getroot())
    assert sorted(shown) == sorted(filed)
    assert len(shown) > 500


def test_a_chart_has_all_that_it_refers_to_and_ids_of_its_own(slices):
    known: set[str] = set()
    for element in slices:
        defined = [part.get("id") for part in element.iter() if part.get("id")]
        assert not known & set(defined)
        assert len(set(defined)) == len(defined)
        known |= set(defined)
        text = ElementTree.tostring(element, encoding="unicode")
        used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
        assert used == set(defined)
        assert "#222222" not in text
        assert "#ffffff" not in text
        assert "font-family" not in text
        assert "<style" not in text


def test_pointing_at_a_mark_tells_its_values(study, slices):
    contents = read_contents(study)
    told = [note for element in slices for note in notes(element)]
    comparisons = contents.tables["comparisons"]
    assert sum(note.endswith("; undecided") for note in told) >= len(comparisons)
    assert sum(note.endswith("predictions") for note in told) > 50
    knees = [note for note in told if re.fullmatch(r".+, KL \d: -?\d+\.\d\d", note)]
    assert len(knees) == 11 * 24
    assert sum(note.startswith("mean of KL") for note in told) == 11 * 5
    cells = contents.tables["cells"].dropna(subset=["metric"])
    assert sum(", seed " in note for note in told) == len(cells)
    assert sum(": mean " in note for note in told) == len(contents.tables["headline"])
    controls = contents.tables["saliency"].query("measure == 'enrichment'")
    for name in ("other knees' cartilage", "random weights"):
        assert sum(note.startswith(name) for note in told) == len(controls)


def test_nothing_covers_anything_else(study, small):
    """Legends, headings and axes with their labels lie beside each other, in small studies too."""
    for folder in (study, small()):
        made = list(FIGURES(read_contents(folder)))
        assert made
        for kind, name, sheet in made:
            drawn(kind, name, sheet)
            renderer = sheet.figure.canvas.get_renderer()
            axes = [one for one in sheet.figure.axes if one.get_visible()]
            boxes = [one.get_tightbbox(renderer) for one in (*axes, *sheet.figure.legends)]
            for first, second in itertools.combinations(boxes, 2):
                assert not first.padded(-1).overlaps(second.padded(-1)), name
            for box in boxes:
                assert min(box.x0, box.y0) > -1, name
                assert box.x1 < sheet.figure.bbox.x1 + 1, name
                assert box.y1 < sheet.figure.bbox.y1 + 1, name


def test_umap_is_drawn_on_request(small, monkeypatch):
    """UMAP itself takes half a minute to import; its numbers are tested where it is called."""
    drawn_from = []

    def places(embeddings):
        drawn_from.append(embeddings)
        return embeddings[:, :2].float()

    monkeypatch.setattr(maps, "umap_embedding", places)
    folder = small()
    page = write_report(folder)
    assert "UMAP" not in page.read_text()
    assert drawn_from == []
    html = write_report(folder, umap=True).read_text()
    assert [one.shape for one in drawn_from] == [(15, 8)] * 2
    charts = [ElementTree.fromstring(text) for text in re.findall(r"<svg .*?</svg>", html, re.DOTALL)]
    assert [len(notes(chart)) for chart in charts] == [15, 15]
    assert {note.partition(", ")[2] for chart in charts for note in notes(chart)} == {
        f"KL {k}" for k in range(5)
    }
    assert "ResNet3D, Dual, seed 0" in html
    assert (page.parent / "figures" / "umap.pdf").is_file()


def test_a_note_for_a_mark_that_is_not_drawn_is_an_error(study):
    kind, name, sheet = next(FIGURES(read_contents(study)))
    sheet.notes[next(iter(sheet.notes))] = ["one", "two"]
    with pytest.raises(ValueError, match="zip"):
        drawn(kind, name, sheet)
