"""A tree that is looked at folder by folder holds what it holds as a whole, interrupted or not."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from miniature.dicom import write_dicom_series
from miniature.hospital import SAGITTAL, knee_volume

import oahier.intake.dicom_scan as dicom_scan
from oahier.images.dicom import find_series, read_series
from oahier.images.dicom.headers import read_slices
from oahier.intake.destination import ImportInterrupted
from oahier.intake.dicom_folder import FolderJob, FoundSeries
from oahier.intake.dicom_scan import TreeScan
from oahier.intake.from_dicom import import_dicom
from oahier.processes import ProcessKilled

FIELDS = ("uid", "folder", "patient", "study_date", "description", "protocol", "manufacturer", "modality",
          "laterality", "part", "problems")  # fmt: skip


def write(folder: Path, patient: str, seed: int = 0, **tags: object) -> list[Path]:
    tags = {"PatientID": patient, "SeriesDescription": "PD", "Laterality": "R"} | tags
    return write_dicom_series(folder, knee_volume(seed, 1), SAGITTAL, **tags)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Series alone, together, in several folders, with echoes, broken, and files that are none."""
    top = tmp_path / "tree"
    for number in range(4):
        write(top / f"p{number}/pd", f"p{number}", number)
        write(top / f"p{number}/loc", f"p{number}", SeriesDescription="loc", Modality="CT")
    write(top / "p0", "p0", 9, SeriesDescription="on top")
    write(top / "p1/pd", "p1", 8, SeriesDescription="beside", Laterality="L", names="x{:03d}")
    spread = write(top / "disk/0", "p5", 7)
    copies = [shutil.copy(file, top / "disk") for file in spread[:2]]  # byte for byte, in another folder
    assert len(copies) == 2
    for number, file in enumerate(spread):
        if number % 2:
            (top / "disk/1").mkdir(exist_ok=True)
            file.rename(top / "disk/1" / file.name)
    (top / "disk/1/999").write_bytes(b"no mark of DICOM, but a name as its neighbours")
    echoes = {"SeriesInstanceUID": "1.2.3", "ImagesInAcquisition": 24}
    write(top / "echo", "p6", 3, EchoNumbers=1, **echoes)
    write(top / "echo", "p6", 4, EchoNumbers=2, start=13, **echoes)
    write(top / "gap", "p7", 5)[5].unlink()
    (top / "notes").mkdir()
    (top / "notes/readme.txt").write_text("hello")
    (top / "empty").mkdir()
    return top


def scan(tree: Path, destination: Path, *, pattern: str = "", workers: int = 0) -> list[FoundSeries]:
    return TreeScan(tree, destination, re.compile(pattern), workers, False).series()


def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files whose headers are read from now on."""
    files: list[Path] = []

    def spy(path: Path):
        files.append(path)
        return read_slices(path)

    for module in ("intake.dicom_folder", "images.dicom"):
        monkeypatch.setattr(f"oahier.{module}.read_slices", spy)
    return files


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*") if path.is_file() and path.name != "lock"
    }  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_found_is_what_the_whole_tree_holds(tree: Path, tmp_path: Path, workers: int) -> None:
    expected = find_series(tree)
    assert len(expected) == 14
    first = scan(tree, tmp_path / "dest", workers=workers)
    again = scan(tree, tmp_path / "dest", workers=workers)  # from what is remembered
    assert first == again
    for one, whole in zip(first, expected, strict=True):
        assert [getattr(one, name) for name in FIELDS] == [getattr(whole, name) for name in FIELDS]
        assert (one.count, one.first) == (len(whole.slices), whole.slices[0].path)
        alone = len(list(find_series(whole.folder, recursive=False))) == 1
        assert (one.shared is None) == (alone and whole.folder == whole.files[0].parent)
        assert one.shared in (None, whole.without_slices())
        if one.shared and not whole.problems:
            np.testing.assert_array_equal(read_series(one.shared).data, read_series(whole).data)
    assert sum(one.shared is not None for one in first) == 5
    assert sum(one.shared is not None for one in scan(tree, tmp_path / "dest", pattern="beside")) == 1


def test_only_what_changed_is_read_again(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan(tree, tmp_path / "dest")
    before = snapshot(tmp_path / "dest")
    files = opened(monkeypatch)
    found = scan(tree, tmp_path / "dest")
    assert len(files) < 24  # one for each series
    assert snapshot(tmp_path / "dest") == before
    files.clear()
    os.utime(tree / "p2/pd/003", ns=(1, 1))  # changed in place, which the folder does not show
    shutil.rmtree(tree / "p3")
    write(tree / "p8", "p8")
    assert len(scan(tree, tmp_path / "dest")) == len(found) - 2 + 1
    assert {file.parent for file in files if files.count(file) == 1 and file.name == "007"} == {
        tree / "p2/pd", tree / "p8",
    }  # fmt: skip
    records = snapshot(tmp_path / "dest")[".import/series.jsonl"].decode().splitlines()
    assert not any('"p3/' in line for line in records)
    assert records[1:] == sorted(records[1:])
    write(tree / "disk/2", "p5", 7, SeriesInstanceUID=found[0].uid)
    assert [one.problems for one in scan(tree, tmp_path / "dest")] == [
        one.problems for one in find_series(tree)
    ]


@pytest.mark.parametrize("folders", [0, 1, 7, 13])
def test_an_interrupted_look_goes_on(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: int
) -> None:
    whole = scan(tree, tmp_path / "whole")
    look, done = dicom_scan.look_into, []

    def interrupted(job: FolderJob):
        if len(done) == folders:
            raise KeyboardInterrupt
        done.append(job.path)
        return look(job)

    monkeypatch.setattr(dicom_scan, "look_into", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scan(tree, tmp_path / "dest")
    store = tmp_path / "dest/.import/series.jsonl"
    content = store.read_bytes()
    assert content.count(b"\n") == folders + 1
    if folders:
        store.write_bytes(content[:-20])  # as a kill leaves it
    monkeypatch.setattr(dicom_scan, "look_into", look)
    files = opened(monkeypatch)
    assert scan(tree, tmp_path / "dest") == whole
    assert not {tree / path / "005" for path in done[:-1] if path[:4] != "disk"} & set(files)
    assert (
        store.read_bytes().splitlines()[1:]
        == ((tmp_path / "whole/.import/series.jsonl").read_bytes().splitlines()[1:])
    )


def test_a_process_that_is_killed(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_scan, "look_into", _die)
    with pytest.raises(ProcessKilled, match=r"killed.* fewer than 2 \(it worked on disk, disk/0\)"):
        scan(tree, tmp_path / "dest", workers=2)
    with pytest.raises(
        ImportInterrupted, match=r"killed while it read disk, disk/0; .* kept in .*dest: run the same import"
    ):
        import_dicom(tree, tmp_path / "dest", series="PD", workers=2, progress=False)


def _die(job: FolderJob):
    os._exit(1)


def test_what_was_remembered_of_something_else_is_not_used(tree: Path, tmp_path: Path) -> None:
    whole = scan(tree, tmp_path / "dest")
    store = tmp_path / "dest/.import/series.jsonl"
    heading, *lines = store.read_text().splitlines()
    mixed = ["null", "[]", "{}", *lines[::-1]]
    empty = [re.sub('"series": .*', '"series": [{}]}', line) for line in lines]
    other = ['{"source": "elsewhere"}', *lines]
    for content in ([], other, [heading, *mixed], [heading, *empty]):
        store.write_text("\n".join(content))
        assert scan(tree, tmp_path / "dest") == whole
        assert store.read_text().splitlines() == [heading, *lines]
    with pytest.raises(ValueError, match="expected workers of 0 or more, got -1"):
        scan(tree, tmp_path / "dest", workers=-1)


def test_imports_with_and_without_processes_are_equal(tree: Path) -> None:
    (tree / "dest").mkdir()  # is not looked into
    found = []
    for workers in (0, 2):
        import_dicom(tree, tree / "dest", series="PD|beside", workers=workers, progress=False)
        found.append(snapshot(tree / "dest"))
        shutil.rmtree(tree / "dest")
    assert found[0] == found[1]
    assert {"manifest.csv", "series.csv", "left-out.csv", ".import/series.jsonl"} <= set(found[0])
    assert "images/p1-left-20050302.nii.gz" in found[0]
