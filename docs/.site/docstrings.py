"""Docstrings as the site shows them: doctests as code, reStructuredText roles as links and formulas."""

from __future__ import annotations

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?! *\n).+)*", re.MULTILINE)
_LITERAL = re.compile(r"::\n\n((?:    .*\n?|\n)+)")
_FORMULA = re.compile(r":math:`([^`]+)`")
_ROLE = re.compile(r":(?:class|func|meth|mod|attr):`(~?)([^`]+)`")


class Docstrings(griffe.Extension):
    """Rewrites every docstring before mkdocstrings parses it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _markdown(obj.docstring.value, obj)


def _markdown(text: str, obj: griffe.Object) -> str:
    text = _LITERAL.sub(lambda match: ":\n\n```python\n" + _dedented(match[1]) + "\n```\n", text)
    text = _DOCTEST.sub(_fenced, text)
    text = _FORMULA.sub(r"$\1$", text)
    return _ROLE.sub(lambda match: _link(match[2], bool(match[1]), obj), text)


def _dedented(block: str) -> str:
    return "\n".join(line[4:] for line in block.rstrip().splitlines())


def _fenced(match: re.Match[str]) -> str:
    indent = match["indent"]
    return f"{indent}```pycon\n{match[0]}\n{indent}```"


def _link(target: str, short: bool, obj: griffe.Object) -> str:
    """A link where the target has a place on the site, its name otherwise."""
    title, _, target = target.rpartition(" <")
    target = target.removesuffix(">")
    name = title or (target.rpartition(".")[2] if short else target)
    scopes = [obj.path, obj.parent.path if obj.parent else "", obj.module.path]
    paths = [target, *(f"{scope}.{target}" for scope in scopes)]
    found = next(filter(None, (_canonical(path, obj) for path in paths)), target)
    return f'<autoref optional identifier="{found}"><code>{name}</code></autoref>'


def _canonical(path: str, obj: griffe.Object) -> str | None:
    """Where the object of a path is defined; the site knows it under that path, too."""
    package, _, rest = path.partition(".")
    if package != obj.package.name:
        return None
    try:
        found = obj.package[rest]
        if found.is_module and found.name in found.members:  # a function that is called like its module
            found = found[found.name]
        return str(found.final_target.path if found.is_alias else found.path)
    except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError):
        return None
