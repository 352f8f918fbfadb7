"""Pages that open from a disk without a network: one head, one set of colours, light, dark and on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_SHARED = Path(__file__).parent
_STYLE = "style.css"


def render(folder: Path, template: str, **context: Any) -> str:
    """A page as text.

    The template extends ``base.html`` and fills its blocks ``title`` and ``page``. Its styles are those of
    every page, followed by ``style.css`` of its own folder. Whatever is not marked safe is escaped, and a
    name that the context lacks is an error.

    Args:
        folder: where the template and its ``style.css`` lie.
        template: file name.
        context: what the template shows.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from oahier import __version__

    environment = Environment(
        loader=FileSystemLoader([folder, _SHARED]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    styles = "\n".join((home / _STYLE).read_text(encoding="utf-8").strip() for home in (_SHARED, folder))
    text = environment.get_template(template).render(version=__version__, style=styles, **context)
    return text.rstrip() + "\n"
