"""A tree is listed again where its folders hold more than slices; what was not readable is tried again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from miniature.oai import pack, write_dess
from miniature.oai_years import place
from miniature.oai_zib import knee, write_image, write_mask

import oahier.intake.oai_tree as oai_tree
from oahier.intake import ImportResult
from oahier.intake.oai import import_oai
from oahier.intake.oai_tree import find_folders
from oahier.intake.oai_zib import import_oai_zib

BOTH = ["9000099-left-V00", "9000099-right-V00"]


def run(source: Path, destination: Path, **options: Any) -> ImportResult:
    return import_oai(source, destination, progress=False, **options)


def knees(source: Path, destination: Path) -> list[str]:
    return run(source, destination).manifest.table["knee"].tolist()


def two_packed(folder: Path) -> Path:
    """Both knees as archives, and a file beside them; returns the folder of the examination."""
    for number, side in enumerate(("right", "left")):
        archive = pack(write_dess(place(folder, "V00", "9000099", f"1002761{2 + number}"), side, seed=number))
    (archive.parent / "md5.txt").write_text("0  10027612.tar.gz\n")
    return archive.parent


def test_a_second_run_finds_archives_beside_a_loose_file(tmp_path: Path) -> None:
    two_packed(tmp_path)
    assert knees(tmp_path / "results", tmp_path / "dest") == BOTH
    assert knees(tmp_path / "results", tmp_path / "dest") == BOTH


def test_a_second_run_of_a_mixed_tree_loses_no_knee(tmp_path: Path) -> None:
    two_packed(tmp_path)
    write_dess(place(tmp_path, "V00", "9000296", "10010000"), "right")
    for _ in range(3):
        assert knees(tmp_path / "results", tmp_path / "dest") == [*BOTH, "9000296-right-V00"]


def test_archives_beside_slices(tmp_path: Path) -> None:
    here = two_packed(tmp_path)
    loose = write_dess(tmp_path / "loose/9000099/20040314/1", "right")
    for file in loose.iterdir():
        shutil.copy(file, here / file.name)
    found = [item.path for item in find_folders(tmp_path / "results", tmp_path / "dest", progress=False)]
    assert [Path(path).name for path in found] == ["20040314", "10027612.tar.gz", "10027613.tar.gz"]
    again = [item.path for item in find_folders(tmp_path / "results", tmp_path / "dest", progress=False)]
    assert again == found


def test_an_archive_replaced_where_it_lies_is_looked_at_again(tmp_path: Path) -> None:
    """The folder of an archive that is written over stays as old as it was."""
    here = two_packed(tmp_path)
    run(tmp_path / "results", tmp_path / "dest")
    other = pack(write_dess(tmp_path / "other/9000099/20040314/10027612", "left"))
    (here / "10027612.tar.gz").write_bytes(other.read_bytes())
    found = find_folders(tmp_path / "results", tmp_path / "dest", progress=False)
    assert [item.description for item in found] == ["SAG_3D_DESS_LEFT", "SAG_3D_DESS_LEFT"]


@pytest.mark.parametrize("name", ["@eaDir", ".thumbnails", "link"])
def test_a_series_with_a_folder_in_it(tmp_path: Path, name: str) -> None:
    """Storage systems put folders of their own everywhere."""
    series = write_dess(place(tmp_path, "V00", "9000099", "10027612"), "right")
    if name == "link":
        (series / name).symlink_to(tmp_path)
    else:
        (series / name).mkdir()
        (series / name / "001@SynoEAStream").write_text("no image")
    for _ in range(2):
        assert knees(tmp_path / "results", tmp_path / "dest") == ["9000099-right-V00"]


def test_a_new_series_below_a_folder_with_files_is_found(tmp_path: Path) -> None:
    series = write_dess(place(tmp_path, "V00", "9000099", "10027612"), "right")
    (series.parents[2] / "contents.csv").write_text("0.C.2/9000099\n")
    assert knees(tmp_path / "results", tmp_path / "dest") == ["9000099-right-V00"]
    write_dess(series.parent / "10027613", "left")
    assert knees(tmp_path / "results", tmp_path / "dest") == BOTH


def test_damaged_slices_that_were_copied_again_are_read(tmp_path: Path) -> None:
    """Copying over a file, or with its times, leaves the folder as old as it was."""
    series = write_dess(place(tmp_path, "V00", "9000099", "10027612"), "right")
    write_dess(series.parent / "10027613", "left")
    shutil.copytree(series, tmp_path / "whole")
    changed = series.stat().st_mtime_ns
    for file in series.iterdir():
        file.write_bytes(file.read_bytes()[:150])
    os.utime(series, ns=(changed, changed))
    assert knees(tmp_path / "results", tmp_path / "dest") == BOTH[:1]
    for file in series.iterdir():
        file.write_bytes((tmp_path / "whole" / file.name).read_bytes())
    os.utime(series, ns=(changed, changed))
    assert knees(tmp_path / "results", tmp_path / "dest") == BOTH


def test_what_cannot_be_read_is_remembered_once(tmp_path: Path) -> None:
    series = write_dess(place(tmp_path, "V00", "9000099", "10027612"), "right")
    for file in series.iterdir():
        file.write_bytes(file.read_bytes()[:150])
    store = tmp_path / "dest/.import/series.jsonl"
    sizes = set()
    for _ in range(3):
        find_folders(tmp_path / "results", tmp_path / "dest", progress=False)
        sizes.add(store.stat().st_size)
    assert len(sizes) == 1


def test_series_that_are_unchanged_are_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_packed(tmp_path)
    write_dess(place(tmp_path, "V00", "9000296", "10010000"), "right")
    run(tmp_path / "results", tmp_path / "dest")
    listed: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(oai_tree.os, "scandir", lambda path: listed.append(Path(path).name) or scan(path))
    find_folders(tmp_path / "results", tmp_path / "dest", progress=False)
    assert "20040314" in listed
    assert "10010000" not in listed


def test_label_maps_find_archives_beside_a_loose_file_again(tmp_path: Path) -> None:
    """OAI-ZIB without its list of series."""
    phantom = knee(0.2)
    archive = pack(write_image(tmp_path / "results/00m/0.C.2/9001104/20041111/10000001", phantom))
    (archive.parent / "md5.txt").write_text("0  10000001.tar.gz\n")
    write_mask(tmp_path / "masks/9001104.segmentation_masks.mhd", phantom.label_map)
    for _ in range(2):
        images = tmp_path / "results"
        result = import_oai_zib(tmp_path / "masks", tmp_path / "dest", images=images, progress=False)
        assert result.manifest.table["knee"].tolist() == ["9001104-right-V00"]
