"""Files of a drawn figure, and each of its panels as an image inside a page."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, GRID, PAPER = "#222222", "#8a8a8a", "#e3e6ea", "#ffffff"
DOTS_PER_INCH = 150
_VARIABLES = {INK: "var(--ink)", GREY: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--surface)"}
"""Colours of figures that differ between light and dark pages, and the page's names of them."""
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_PIXELS = 1.5
"""Pixels of a page to a point of a figure: letters of 8 points are 12 pixels high."""


@dataclass(frozen=True)
class Chart:
    """A panel of a figure as a page shows it.

    Args:
        title: heading.
        alt: what it shows, for those who do not see it.
        summary: second line of the heading.
        section: heading of the charts that it belongs to.
        svg: markup, in the page's colours; pointing at a mark shows its values.
    """

    title: str
    alt: str
    summary: str
    section: str
    svg: str


@dataclass(frozen=True)
class Panel:
    """One pair of axes of a figure, and what is written around it on a page; see :class:`Chart`."""

    axes: Axes
    title: str
    alt: str
    summary: str = ""
    section: str = ""


@dataclass
class Sheet:
    """A figure of several panels.

    Args:
        figure: drawn with matplotlib, without pyplot.
        title: of the whole figure.
        panels: the axes that pages show by themselves.
        notes: by the id of an artist, what is shown on pointing at each of its marks.
    """

    figure: Figure
    title: str = ""
    panels: list[Panel] = field(default_factory=list)
    notes: dict[str, Sequence[str]] = field(default_factory=dict)

    def note(self, artist: Artist, texts: Sequence[str]) -> None:
        """Show a text on pointing at each mark of an artist, in their order; all marks must be defined."""
        name = f"note-{len(self.notes) + 1}"
        artist.set_gid(name)
        self.notes[name] = texts


@dataclass(frozen=True)
class Drawn:
    """A figure as files by suffix, and its panels for a page.

    Args:
        kind: what it shows.
        name: of its files.
        title: of the figure.
        files: content by suffix.
        charts: its panels.
    """

    kind: str
    name: str
    title: str
    files: Mapping[str, bytes]
    charts: Sequence[Chart]

    @property
    def sections(self) -> list[list[Chart]]:
        """Charts by their section, in order."""
        return [
            [chart for chart in self.charts if chart.section == section]
            for section in dict.fromkeys(chart.section for chart in self.charts)
        ]


def drawn(kind: str, name: str, sheet: Sheet) -> Drawn:
    """A figure as PNG, SVG and PDF, and its panels; the same bytes every time.

    Args:
        kind: what the figure shows.
        name: of the files.
        sheet: the figure.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(sheet.figure)
    files = {"png": _saved(sheet.figure, "png", Software=None)}
    sheet.figure.set_layout_engine("none")  # all files have the layout that was found for the first
    boxes = _boxes(sheet, canvas) if sheet.panels else []
    for number, panel in enumerate(sheet.panels):
        panel.axes.set_gid(f"panel-{number}")
    with matplotlib.rc_context({"svg.hashsalt": "oahier", "svg.fonttype": "none"}):
        tree = ElementTree.fromstring(_saved(sheet.figure, "svg", Date=None, Creator=None))
    with matplotlib.rc_context({"pdf.fonttype": 42}):
        files["pdf"] = _saved(sheet.figure, "pdf", CreationDate=None, Creator=None, Producer=None)
    found = {element.get("id", ""): element for element in tree.iter()}
    for artist, texts in sheet.notes.items():
        _add_notes(found[artist], texts)
    for prefix, address in (("", _SVG), ("xlink", _LINK)):
        ElementTree.register_namespace(prefix, address[1:].partition("}")[0])
    files["svg"] = ElementTree.tostring(tree, encoding="utf-8", xml_declaration=True)
    charts = [
        Chart(
            panel.title,
            panel.alt,
            panel.summary,
            panel.section,
            _slice(found, f"panel-{number}", re.sub(r"[^\w-]", "-", f"{name}-{number}"), box),
        )
        for number, (panel, box) in enumerate(zip(sheet.panels, boxes, strict=True))
    ]
    return Drawn(kind, name, sheet.title, files, charts)


def _saved(figure: Figure, kind: str, **metadata: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format=kind, metadata=metadata)
    return content.getvalue()


def _boxes(sheet: Sheet, canvas: Any) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of each panel without its heading, in points; margins are those of all."""
    inner = [panel.axes.get_window_extent() for panel in sheet.panels]
    outer = []
    for panel in sheet.panels:
        headings = [panel.axes.title, panel.axes._left_title]  # type: ignore[attr-defined]
        for heading in headings:
            heading.set_visible(False)
            heading.set_gid("heading")
        box = panel.axes.get_tightbbox(canvas.get_renderer()) or panel.axes.get_window_extent()
        outer.append(box.padded(4))
        for heading in headings:
            heading.set_visible(True)
    pairs = list(zip(inner, outer, strict=True))
    left, right = (max(abs(getattr(i, x) - getattr(o, x)) for i, o in pairs) for x in ("x0", "x1"))
    below, above = (max(abs(getattr(i, y) - getattr(o, y)) for i, o in pairs) for y in ("y0", "y1"))
    scale, height = 72 / DOTS_PER_INCH, 72 * sheet.figure.get_figheight()
    return [
        (
            scale * (i.x0 - left), height - scale * (i.y1 + above),
            scale * (i.width + left + right), scale * (i.height + below + above),
        )
        for i in inner
    ]  # fmt: skip


def _add_notes(group: ElementTree.Element, texts: Sequence[str]) -> None:
    inside = {mark for defs in group.iter(f"{_SVG}defs") for mark in defs.iter()}
    marks = [mark for mark in group.iter(f"{_SVG}use") if mark not in inside]
    marks = marks or [mark for mark in group.iter(f"{_SVG}path") if mark not in inside]
    for mark, text in zip(marks, texts, strict=True):
        ElementTree.SubElement(mark, f"{_SVG}title").text = text


def _slice(found: Mapping[str, ElementTree.Element], panel: str, name: str, box: tuple[float, ...]) -> str:
    """The markup of one panel with all that it refers to, in the page's colours and letters."""
    group = copy.deepcopy(found[panel])
    for parent in list(group.iter()):
        for child in [child for child in parent if child.get("id") == "heading"]:
            parent.remove(child)
    root = ElementTree.Element(
        f"{_SVG}svg",
        {"viewBox": " ".join(f"{value:.1f}" for value in box), "width": f"{box[2] * _PIXELS:.0f}",
         "aria-hidden": "true", "stroke-linejoin": "round"},
    )  # fmt: skip
    root.append(group)
    used = {
        name for element in group.iter() for value in element.attrib.values() for name in _referred(value)
    }
    missing = sorted(used - {element.get("id") for element in group.iter()})
    ElementTree.SubElement(root, f"{_SVG}defs").extend([copy.deepcopy(found[one]) for one in missing])
    for element in root.iter():
        given = element.attrib.pop("id", "")
        for key, value in list(element.attrib.items()):
            element.attrib[key] = _plain_value(value, name)
        if given in used:
            element.set("id", f"{name}-{given}")
        if _LINK in element.attrib:
            element.set("href", element.attrib.pop(_LINK))
    return ElementTree.tostring(root, encoding="unicode")


def _referred(value: str) -> list[str]:
    """Ids that an attribute refers to: ``#id`` or ``url(#id)``."""
    return re.findall(r"(?:^|\()#([\w-]+)", value)


def _plain_value(value: str, name: str) -> str:
    """An attribute without the font, with fewer digits, the page's colours, and the panel's own ids."""
    for colour, variable in _VARIABLES.items():
        value = value.replace(colour, variable)
    value = re.sub(r"font-family:[^;]*;? *", "", value)
    value = re.sub(r"(\.\d\d)\d+", r"\1", " ".join(value.split()))
    return re.sub(r"(^|\()#(?=[\w-]+\)?$|[\w-]+\))", rf"\1#{name}-", value)
