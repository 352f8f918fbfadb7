"""The site's own code: names in headings, roles of docstrings."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import griffe

SITE = Path(__file__).parents[2] / "docs/.site"


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"site_{name}", SITE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_headings_have_the_names_that_users_write() -> None:
    heading = '<h2 id="oahier.{0}.{1}">\n<span class="doc doc-object-name doc-class-name">{2}</span></h2>'
    public = heading.format("callbacks", "OrdinalMetrics", "oahier.callbacks.OrdinalMetrics")
    other = heading.format("callbacks", "RunLog", "oahier.callbacks.RunLog")
    shown = _module("hooks").on_page_content(f"<h1>Callbacks</h1>{public}{other}")
    assert ">oh.OrdinalMetrics</span>" in shown
    assert ">oahier.callbacks.RunLog</span>" in shown
    assert "<code>import oahier as oh</code>" in shown
    assert 'id="oahier.callbacks.OrdinalMetrics"' in shown, "links still lead there"
    assert _module("hooks").on_page_content(f"<h1>Callbacks</h1>{other}") == f"<h1>Callbacks</h1>{other}"


def test_roles_of_docstrings_are_links() -> None:
    link = _module("docstrings")._link
    here = griffe.Class("Head", parent=griffe.Module("oahier"))
    assert link("oahier.Head", True, here).endswith(' identifier="oahier.Head"><code>Head</code></autoref>')
    told = link("native names <oahier.Head.names>", False, here)
    assert told == '<autoref optional identifier="oahier.Head.names"><code>native names</code></autoref>'


def test_every_class_shows_its_arguments() -> None:
    settings = (SITE.parents[1] / "mkdocs.yml").read_text()
    for word in ("merge_init_into_class: true", "navigation.footer"):
        assert word in settings
