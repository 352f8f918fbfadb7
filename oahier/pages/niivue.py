"""NiiVue, a viewer of volumes in WebGL 2, out of the installed package ``ipyniivue``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any
from urllib.parse import unquote

PACKAGE = "ipyniivue"
_NEEDED = ("MULTIPLANAR_TYPE", "Niivue", "NVImage", "SHOW_RENDER", "SLICE_TYPE", "cmapper")
_ENCODED = re.compile(r'"([A-Za-z0-9%\-_.!~*\'()]{200000,})"')
"""The widget's script carries the whole of NiiVue as one percent-encoded string, for pages that it saves."""
_EXPORT = re.compile(r"export\s*\{([^{}]*)\}\s*;?\s*$")


@dataclass(frozen=True)
class Library:
    """A script that sets ``globalThis.niivue``, and the terms that come with it."""

    script: str
    licence: str
    version: str
    """Of the package."""


def installed_niivue() -> Library | None:
    """NiiVue as the installed package carries it, or ``None`` where the extra ``viewer`` is not installed.

    Nothing of the package is imported or run.

    Raises:
        ImportError: the package is there, and carries no NiiVue where 2.4 does.
    """
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        return None
    text = _text(package, "widget.js")
    found = [script for script in map(_as_global, _ENCODED.findall(text)) if script]
    if len(found) != 1:
        raise ImportError(
            f"{PACKAGE} {package.version} carries no NiiVue where version 2.4 does; install another version "
            "(pip install 'oahier[viewer]'), or make pages without the viewer (--no-viewer)"
        )
    return Library(found[0], _text(package, "LICENSE"), package.version)


def needed_niivue() -> Library:
    """NiiVue, where somebody asked for it.

    Raises:
        ImportError: the extra ``viewer`` is not installed, or carries no NiiVue.
    """
    library = installed_niivue()
    if library is None:
        raise ImportError("the viewer of volumes needs ipyniivue: pip install 'oahier[viewer]'")
    return library


def chosen_niivue(wanted: bool | None) -> Library | None:
    """NiiVue where a viewer is wanted; by default (``None``) where it is installed.

    Raises:
        ImportError: as :func:`needed_niivue`.
    """
    if wanted is None:
        return installed_niivue()
    return needed_niivue() if wanted else None


def _text(package: Any, name: str) -> str:
    """A file of a package (``importlib``'s or its backport's), by its name; empty where there is none."""
    found = next((file for file in package.files or () if file.name == name), None)
    return "" if found is None else found.read_text(encoding="utf-8")


def _as_global(encoded: str) -> str:
    """A module with its exports as members of ``globalThis.niivue``; empty where it is not NiiVue.

    >>> _as_global("let%20a%3D1%3Bexport%7Ba%20as%20b%7D%3B")
    ''
    """
    module = unquote(encoded)
    exports = _EXPORT.search(module)
    pairs = [name.split(" as ") for name in exports[1].split(",")] if exports else []
    members = {pair[-1].strip(): pair[0].strip() for pair in pairs}
    if exports is None or not set(_NEEDED) <= set(members):
        return ""
    told = ", ".join(f"{name}: {members[name]}" for name in _NEEDED)
    return f"{module[: exports.start()]}\nglobalThis.niivue = {{ {told} }};\n"
