"""The viewer of pages: what it takes from the installed package, and what it does without it."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from oahier.pages import niivue
from oahier.pages.niivue import Library, chosen_niivue, installed_niivue, needed_niivue
from oahier.pages.viewer import ViewedKnee, viewer

EXPORT = "export{A as Niivue,NVImage,SHOW_RENDER,SLICE_TYPE,MULTIPLANAR_TYPE,cm as cmapper};"
MODULE = f"const A=1;{'/* 0 */' * 30000}{EXPORT}"


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """A package with this script, found before any other."""
    files = {
        "ipyniivue/static/widget.js": script,
        "ipyniivue-9.0.dist-info/licenses/LICENSE": "These are the terms.",
        "ipyniivue-9.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: ipyniivue\nVersion: 9.0\n",
    }
    files["ipyniivue-9.0.dist-info/RECORD"] = "".join(f"{name},,\n" for name in files)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)


def absent(name: str) -> Any:
    """As the standard library answers for a package that is not installed."""
    raise PackageNotFoundError(name)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(niivue, "distribution", absent)
    assert installed_niivue() is chosen_niivue(None) is chosen_niivue(False) is None
    for ask in (needed_niivue, lambda: chosen_niivue(True)):
        with pytest.raises(ImportError, match=r"needs ipyniivue: pip install 'oahier\[viewer\]'"):
            ask()


def test_exports_become_members_of_one_global(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    encoded = quote(MODULE, safe="~()*!.'")
    install(monkeypatch, tmp_path, f'var a="x";var b="{encoded}";export{{c as default}};')
    library = installed_niivue()
    assert library is not None
    assert (library.licence, library.version) == ("These are the terms.", "9.0")
    assert library.script.startswith("const A=1;")
    assert "export" not in library.script
    assert "Niivue: A," in library.script
    assert "cmapper: cm }" in library.script
    assert chosen_niivue(False) is None


LACKING = quote(MODULE.replace("A as Niivue,", ""))


@pytest.mark.parametrize("script", ["", MODULE, f'"{LACKING}"'])
def test_a_package_of_another_make_is_refused(
    script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, script)
    with pytest.raises(ImportError, match=r"ipyniivue 9.0 carries no NiiVue where version 2.4 does"):
        installed_niivue()


def test_the_installed_package_is_read_and_not_run() -> None:
    library = installed_niivue()
    if library is None:
        pytest.skip("the extra viewer is not installed")
    import sys

    assert "ipyniivue" not in sys.modules
    assert "Redistribution and use in source and binary forms" in library.licence
    assert len(library.script) > 1_000_000


def shown(**entries: Any) -> str:
    knee = ViewedKnee("<b>9</b>", "H4sI", "", {"</script>": "H4sI"}, (1.0, 2.0, 3.0))
    given = {"title": "Knees & more", "note": "", "heat": [[0, 0, 0, 0]], "cartilage": [1, 2, 3]} | entries
    return viewer(Library("let a;", "<terms>", "1"), [knee], **given).body


def test_names_cannot_leave_their_element() -> None:
    body = shown()
    data = re.search(r'id="viewer-data">(.*?)</script>', body, re.DOTALL)
    assert data is not None
    assert json.loads(data[1])["knees"][0]["maps"][0]["name"] == "</script>"
    assert "Knees &amp; more" in body
    assert "&lt;terms&gt;" in body
    assert "<b>9" not in body


def test_a_choice_of_knees_where_there_are_several() -> None:
    assert 'id="viewer-knee"' not in shown()
    knee = ViewedKnee("one", "H4sI", "", {}, (0.0, 0.0, 0.0))
    library = Library("let a;", "terms", "1")
    options: dict[str, Any] = {"title": "", "note": "", "heat": [], "cartilage": []}
    assert 'id="viewer-knee"' in viewer(library, [knee, knee], **options).body
    with pytest.raises(ValueError, match="knees: expected one or more, got none"):
        viewer(library, [], **options)


def test_no_script_of_others_lies_in_the_repository() -> None:
    home = Path(niivue.__file__).parents[2]
    scripts = list((home / "oahier").rglob("*.js"))
    assert scripts
    assert max(path.stat().st_size for path in scripts) < 30_000
