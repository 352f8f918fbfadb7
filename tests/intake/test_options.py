"""Options that all importers take: one list, one help, one record."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
from miniature.oaizib_cm import make_oaizib_cm

from oahier.cli.data.import_command import IMPORTERS, import_parser, importer
from oahier.cli.main import main
from oahier.intake import ImportKeywords, ImportOptions, finish_import, import_oaizib_cm
from oahier.intake.oaizib_cm import LICENCE


def test_type_checkers_and_defaults_know_the_same_options():
    types = get_type_hints(ImportOptions)
    assert get_type_hints(ImportKeywords) == {
        field.name: types[field.name] for field in fields(ImportOptions)
    }


@pytest.mark.parametrize("name", IMPORTERS)
def test_every_importer_takes_them_with_the_same_help(name: str):
    own, function = {field.name for field in fields(ImportOptions)}, importer(name)
    assert not own & set(inspect.signature(function).parameters)
    assert helps(name).items() >= {option: helps("table")[option] for option in own}.items()
    assert "shared" not in helps(name)


def helps(name: str) -> dict[str, str]:
    return {action.dest: action.help for action in import_parser(name, importer(name))._actions}


def test_a_word_that_is_none_of_them_is_refused(tmp_path: Path):
    with pytest.raises(TypeError, match="'convrt'"):
        import_oaizib_cm(tmp_path, tmp_path / "out", convrt=True)
    with pytest.raises(TypeError, match="'convrt'"):
        finish_import(tmp_path / "out", [], importer="mine", source=tmp_path, convrt=True)
    with pytest.raises(ValueError, match=r"insist: expected some of .*, got holes"):
        ImportOptions(insist="holes")


def test_terms_are_those_of_the_data_set_unless_others_are_given(tmp_path: Path):
    make_oaizib_cm(tmp_path / "source", train=4, test=2)
    words = ["data", "import", "oaizib-cm", str(tmp_path / "source"), str(tmp_path / "out"), "--no-progress"]
    for more, terms in ([], LICENCE), (["--licence", "mine", "--convert", "--n4"], "mine"):
        assert main([*words, *more]) == 0
        report = json.loads((tmp_path / "out" / "import.json").read_text())
        assert report["licence"] == terms
        assert report["options"] == {
            "insist": [], "convert": bool(more), "mirror_left": False, "n4": bool(more),
        }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir())[0] == "oaizib_001.nii.gz"
