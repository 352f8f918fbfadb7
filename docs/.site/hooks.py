"""Formulas as MathML, which browsers draw without a script, and names as users write them."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

from oahier.public import PUBLIC

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_HEADING = re.compile(
    r'(<h\d id="(oahier[\w.]*)\.(\w+)"[^>]*>\s*<span class="doc doc-object-name[^>]*>)[\w.]+'
)
_SHORT = "<p>Names that begin with <code>oh</code> are those of <code>import oahier as oh</code>.</p>"


def on_page_content(content: str, **_: Any) -> str:
    """Draw formulas, and shorten the headings of public names."""
    named = _HEADING.sub(_as_written, _FORMULA.sub(_draw, content))
    return named.replace("</h1>", f"</h1>\n{_SHORT}", 1) if ">oh." in named else named


def _draw(match: re.Match[str]) -> str:
    """What ``pymdownx.arithmatex`` marked, as MathML."""
    display = "block" if match[1] == "div" else "inline"
    return convert(html.unescape(match[2]).strip(), display=display)


def _as_written(match: re.Match[str]) -> str:
    """``oh.SoftmaxHead`` in the place of ``oahier.heads.SoftmaxHead``; other names as they are."""
    return f"{match[1]}oh.{match[3]}" if PUBLIC.get(match[3]) == match[2] else match[0]
