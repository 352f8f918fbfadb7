"""A viewer of volumes inside a page: NiiVue, the volumes and the controls, without a network."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oahier.pages.niivue import Library

_HOME = Path(__file__).parent
_RULES = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
"""The page may use what lies in it and may fetch nothing, whatever a script of others would like to."""


@dataclass(frozen=True)
class ViewedKnee:
    """The volumes of a knee, as text (:func:`oahier.images.embedded.as_text`)."""

    name: str
    mri: str
    """Grey levels from 0 to 255."""
    cartilage: str
    """1 inside, 0 outside; empty where it is not known."""
    maps: Mapping[str, str]
    """Saliency by name, from 0 to 255 for the largest."""
    start: tuple[float, float, float]
    """Where the planes meet at first: millimetres towards right, anterior, superior."""


@dataclass(frozen=True)
class Viewer:
    """What a page needs for a viewer."""

    head: str
    """For the head of the page, before anything that the page loads."""
    body: str
    """A section."""


def viewer(
    library: Library,
    knees: Sequence[ViewedKnee],
    *,
    title: str,
    note: str,
    heat: Sequence[Sequence[int]],
    cartilage: Sequence[int],
) -> Viewer:
    """A section with a viewer of knees.

    Args:
        library: NiiVue.
        knees: one or more; a choice is offered where there are several.
        title: heading of the section.
        note: what the volumes are, for the reader.
        heat: red, green, blue and opacity, 0 to 255, of saliency from 0 to its maximum.
        cartilage: red, green, blue.

    Raises:
        ValueError: no knee.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    if not knees:
        raise ValueError("knees: expected one or more, got none")
    environment = Environment(
        loader=FileSystemLoader(_HOME), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    volumes = [
        {
            "name": knee.name, "mri": knee.mri, "cartilage": knee.cartilage, "start": list(knee.start),
            "maps": [{"name": name, "volume": text} for name, text in knee.maps.items()],
        }
        for knee in knees
    ]  # fmt: skip
    style, script = ((_HOME / name).read_text(encoding="utf-8").strip() for name in _FILES)
    body = environment.get_template("viewer.html").render(
        title=title, note=note, knees=knees, library=library, script=script,
        data=for_script({"knees": volumes, "heat": heat, "cartilage": cartilage}),
        packed=base64.b64encode(gzip.compress(library.script.encode(), 9, mtime=0)).decode("ascii"),
    )  # fmt: skip
    head = f'<meta http-equiv="Content-Security-Policy" content="{_RULES}">\n<style>\n{style}\n</style>\n'
    return Viewer(head, body.rstrip() + "\n")


_FILES = ("viewer.css", "viewer.js")


def for_script(content: Any) -> str:
    r"""JSON that may stand inside a script element, whatever is in it.

    >>> print(for_script({"knee": "</script>"}))
    {"knee":"\u003c/script\u003e"}
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
