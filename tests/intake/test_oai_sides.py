"""A list of knees: OAI's tree narrowed to it, and OAI-ZIB's maps told apart by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from miniature.oai import write_dess
from miniature.oai_years import place
from miniature.oai_zib import knee, write_image, write_mask

from oahier.intake.oai import import_oai
from oahier.intake.oai_sides import read_sides
from oahier.intake.oai_zib import import_oai_zib

LISTED = "9000099,RIGHT\n9001104,1: Right\n71234,LEFT\n"
"""As people keep it: no header, a zero lost."""


@pytest.mark.parametrize("head", ["", "ID,SIDE\n", "\ufeffsubject,side\n\n"])
def test_with_and_without_a_header(tmp_path: Path, head: str) -> None:
    path = tmp_path / "sides.csv"
    path.write_text(head + LISTED, encoding="utf-8")
    assert read_sides(path) == {
        "9000099": frozenset({"right"}), "9001104": frozenset({"right"}), "0071234": frozenset({"left"})
    }  # fmt: skip


def test_other_separators_and_both_knees(tmp_path: Path) -> None:
    path = tmp_path / "sides.txt"
    path.write_text('"9000099"|"1: Right"\n9000099;2\n')
    assert read_sides(path) == {"9000099": frozenset({"right", "left"})}


def test_only_listed_knees_are_imported(tmp_path: Path) -> None:
    for person in ("9000099", "0071234", "9000100"):
        for number, side in enumerate(("right", "left")):
            write_dess(place(tmp_path, "V00", person, f"1000000{number}"), side)
    path = tmp_path / "sides.csv"
    path.write_text(LISTED)
    result = import_oai(tmp_path / "results", tmp_path / "dest", sides=str(path), progress=False)
    assert result.manifest.table["knee"].tolist() == ["0071234-left-V00", "9000099-right-V00"]
    assert "4 series of knees that sides.csv does not list were passed over" in result.report["notes"]
    assert result.report["options"]["sides"] == "sides.csv"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("9000099,RIGHT\n9000100,medial\n", r"line 2: expected subject and side .* got '9000100,medial'"),
        ("9000099\n", "line 1: expected subject and side"),
        ("ID,SIDE\nRIGHT,9000099\n", "line 2: expected subject and side"),
        ("ID,SIDE\n", "expected lines such as 9001104,RIGHT, found none"),
        ("", "expected lines such as 9001104,RIGHT, found none"),
    ],
)
def test_damaged_lists(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "sides.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        import_oai(tmp_path, tmp_path / "dest", sides=str(path), progress=False)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"sides: cannot read .*nothing.csv: no such file"):
        import_oai(tmp_path, tmp_path / "dest", sides=str(tmp_path / "nothing.csv"), progress=False)


def test_the_list_tells_which_knee_a_label_map_is_of(tmp_path: Path) -> None:
    """OAI-ZIB has one map a person and does not say of which knee, unless its list of series is there."""
    masks, images = tmp_path / "masks", tmp_path / "results"
    masks.mkdir()
    for person, side, other in (("9001104", "right", "left"), ("9001400", "left", "right")):
        write_image(place(tmp_path, "V00", person, "10000001"), knee(0.3, side))
        write_image(place(tmp_path, "V00", person, "10000002"), knee(0.3, other))
        write_mask(masks / f"{person}.segmentation_masks.mhd", knee(0.3, side).label_map)
    with pytest.raises(ValueError, match=r"choose one \(--sides\)"):
        import_oai_zib(masks, tmp_path / "a", images=images, progress=False)
    path = tmp_path / "sides.csv"
    path.write_text("9001104,RIGHT\n9001400,LEFT\n")
    result = import_oai_zib(masks, tmp_path / "b", images=images, sides=str(path), progress=False)
    assert result.manifest.table["knee"].tolist() == ["9001104-right-V00", "9001400-left-V00"]
    assert result.left_out == []
