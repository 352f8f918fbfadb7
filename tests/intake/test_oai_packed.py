"""Packed series: extracted once, again when the archive changed, several at once, where there is room."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import miniature
import pytest
from miniature.oai import pack, write_dess
from miniature.oai_years import place
from miniature.oai_zib import knee, write_image, write_mask

import oahier.intake.oai_extracted as extracted
from oahier.intake import ImportResult
from oahier.intake.candidate import Candidate
from oahier.intake.oai import import_oai
from oahier.intake.oai_packed import unpacked_size
from oahier.intake.oai_zib import import_oai_zib

KILL = Path(miniature.__file__).with_name("oai_kill.py")
RIGHT, LEFT = "9000099-right-V00", "9000099-left-V00"


def run(source: Path, destination: Path, **options: Any) -> ImportResult:
    return import_oai(source, destination, **{"progress": False, **options})


def packed(folder: Path, side: str = "right", seed: int = 0, series: str = "10027612", **tags: Any) -> Path:
    return pack(write_dess(place(folder, "V00", "9000099", series), side, seed=seed, **tags))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def hashes(result: ImportResult) -> dict[str, str]:
    return dict(zip(result.manifest.table["knee"], result.manifest.table["source_hash"], strict=True))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    packed(tmp_path)
    packed(tmp_path, "left", 1, "10027613")
    return tmp_path / "results"


def test_a_replaced_archive_is_extracted_again(tree: Path, tmp_path: Path) -> None:
    before = hashes(run(tree, tmp_path / "dest"))
    packed(tmp_path, seed=7)
    after = hashes(run(tree, tmp_path / "dest"))
    assert after == hashes(run(tree, tmp_path / "fresh"))
    assert contents(tmp_path / "dest/dicom") == contents(tmp_path / "fresh/dicom")
    assert after[RIGHT] != before[RIGHT]
    assert after[LEFT] == before[LEFT]


@pytest.mark.parametrize("kept", ["size", "mtime"])
def test_size_or_time_is_enough_to_tell_archives_apart(tree: Path, tmp_path: Path, kept: str) -> None:
    archive = next(tree.rglob("10027612.tar.gz"))
    content = gzip.decompress(archive.read_bytes())
    archive.write_bytes(gzip.compress(content, 0))
    before = archive.stat()
    run(tree, tmp_path / "dest")
    other = bytearray(content)
    first = other.index(b"DICM")
    other[first - 128] ^= 1  # in the preamble, which says nothing
    archive.write_bytes(gzip.compress(bytes(other), 0 if kept == "size" else 9))
    if kept == "mtime":
        os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (archive.stat().st_size == before.st_size) == (kept == "size")
    run(tree, tmp_path / "dest")
    assert b"\1" + bytes(127) + b"DICM" in {
        path.read_bytes()[:132] for path in (tmp_path / "dest/dicom" / RIGHT / "10027612").iterdir()
    }


def test_unchanged_archives_are_extracted_once(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tree, tmp_path / "dest")
    done: list[str] = []
    unpack = extracted.unpack
    monkeypatch.setattr(extracted, "unpack", lambda *paths: done.append(paths[0].name) or unpack(*paths))
    run(tree, tmp_path / "dest")
    assert done == []
    (tmp_path / "dest/dicom" / RIGHT / "10027612/005").unlink()  # somebody tidied
    result = run(tree, tmp_path / "dest")
    assert done == ["10027612.tar.gz"]
    assert len(result.manifest.table) == 2


def test_folders_that_are_no_longer_used_are_removed(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "dest")
    own = write_dess(
        tmp_path / "dest/dicom/9000622/20040314", "right", PatientID="9000622", StudyDate="20040314"
    )
    next(tree.rglob("10027612.tar.gz")).unlink()
    packed(tmp_path, seed=7, series="10027699")
    run(tree, tmp_path / "dest")
    folder = tmp_path / "dest/dicom"
    assert sorted(path.name for path in folder.glob("9000099*/*")) == ["10027613", "10027699"]
    run(tree, tmp_path / "dest", sides="left")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*")) == [
        "9000099-left-V00/10027613", "9000622/20040314",
    ]  # fmt: skip
    assert not (folder / RIGHT).exists()
    assert len(list(extracted._extracted(tmp_path / "dest"))) == 1
    assert len(list(own.iterdir())) == 10, "what no import extracted stays"


def test_folders_stay_where_an_import_fails(tree: Path, tmp_path: Path) -> None:
    """The manifest that is there still points to them."""
    run(tree, tmp_path / "dest")
    for archive in tree.rglob("*.tar.gz"):
        archive.write_bytes(archive.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="none of 2 could be imported"):
        run(tree, tmp_path / "dest")
    assert len(list((tmp_path / "dest/dicom").glob("*/*"))) == 2


def test_extracted_series_in_the_source_are_no_series_of_it(tree: Path) -> None:
    first = run(tree, tree)
    again = run(tree, tree)
    assert again.left_out == first.left_out == []
    assert again.manifest.table["knee"].tolist() == [LEFT, RIGHT]


@pytest.mark.slow
def test_killed_anywhere_the_next_run_puts_it_right(tree: Path, tmp_path: Path) -> None:
    """Between any two steps of replacing one folder, extracting another and removing a third."""
    run(tree, tmp_path / "old")
    next(tree.rglob("10027613.tar.gz")).unlink()
    archives = [packed(tmp_path, seed=7), packed(tmp_path, "left", 8, "10027698")]
    fresh = run(tree, tmp_path / "fresh")
    command = [sys.executable, KILL, tmp_path / "old", tmp_path / "killed", *archives]
    subprocess.run(command, check=True)
    folders = sorted((tmp_path / "killed").iterdir(), key=lambda path: int(path.name))
    assert len(folders) > 12
    knees = [Candidate(RIGHT, "9000099", "right", "V00", archives[0])]
    knees.append(Candidate(LEFT, "9000099", "left", "V00", archives[1]))
    for folder in folders:
        kept, lost = extracted.unpack_all(knees, folder, 0, progress=False)
        extracted.remove_unused(folder, kept)
        assert lost == []
        assert contents(folder / "dicom") == contents(tmp_path / "fresh/dicom"), folder.name
        assert len(list(extracted._extracted(folder))) == 2
    assert hashes(run(tree, folders[3])) == hashes(fresh)


def test_what_is_extracted_is_announced_and_shown(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    run(tree, tmp_path / "dest", progress=True)
    words = " ".join(capsys.readouterr().err.split())
    size = sum(unpacked_size(archive) for archive in tree.rglob("*.tar.gz"))
    assert f"extracting 2 series, {size / 1000:.1f} kB, to {tmp_path / 'dest/dicom'}" in words
    assert "extracting series" in words
    assert "2/2" in words
    run(tree, tmp_path / "dest", progress=True)
    assert "extracting" not in capsys.readouterr().err


def test_a_disk_that_is_too_small(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    size = sum(unpacked_size(archive) for archive in tree.rglob("*.tar.gz"))
    with pytest.raises(
        OSError,
        match=rf"cannot extract 2 series, {size / 1000:.1f} kB, to .*dest/dicom: only 1.0 kB are free there; "
        "free some space, choose another destination, or fewer visits or sides",
    ):
        run(tree, tmp_path / "dest")
    assert not (tmp_path / "dest/dicom").exists()


def test_nothing_is_extracted_to_the_folder_of_another_import(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest/manifest.csv").write_text("knee\n")
    with pytest.raises(ValueError, match=r"dest holds a manifest.csv that no import wrote"):
        run(tree, tmp_path / "dest")
    assert not (tmp_path / "dest/dicom").exists()


def test_how_large_archives_get(tmp_path: Path) -> None:
    """What the end of the file tells, unless that cannot be."""
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(os.urandom(3000) + bytes(6000)))
    assert unpacked_size(path) == 9000
    path.write_bytes(path.read_bytes()[:-8] + b"\xff" * 8)
    assert unpacked_size(path) == 3 * path.stat().st_size
    path.write_bytes(b"")
    assert unpacked_size(path) == 0


def test_several_are_extracted_at_once(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2, timeout=20)
    unpack = extracted.unpack

    def waiting(*paths: Path) -> None:
        together.wait()
        unpack(*paths)

    monkeypatch.setattr(extracted, "unpack", waiting)
    names = ("10027612", "10027613")
    knees = [
        Candidate(f"9000099-{name}-V00", "9000099", "", "V00", next(tree.rglob(f"{name}.tar.gz")))
        for name in names
    ]
    kept, lost = extracted.unpack_all(knees, tmp_path, 2, progress=False)
    assert lost == []
    assert [len(list(item.mri.iterdir())) for item in kept] == [10, 10]


def test_a_full_disk_ends_the_import_and_leaves_no_half_series(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Callable[..., int] = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "007" and RIGHT in path.parts:
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left on device"):
            run(tree, tmp_path / "dest")
    assert not (tmp_path / "dest/dicom" / RIGHT / "10027612").exists()
    assert len(run(tree, tmp_path / "dest").manifest.table) == 2


def test_a_whole_archive_comes_before_a_later_one_that_lacks_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(tmp_path)
    later = write_dess(place(tmp_path, "V00", "9000099", "10027699"), "right", seed=3)
    (later / "006").unlink()
    pack(later)
    cut = packed(tmp_path, seed=4, series="10027700")
    cut.write_bytes(cut.read_bytes()[:-2000])
    result = run(tmp_path / "results", tmp_path / "dest")
    assert result.manifest.table["source"].tolist() == ["00m/0.C.2/9000099/20040314/10027612.tar.gz"]
    reasons = {Path(item.source).name: item.reason for item in result.left_out}
    assert "1 missing" in reasons["10027699.tar.gz"]
    assert "10027612.tar.gz, of the same knee and visit, is whole and is used" in reasons["10027699.tar.gz"]
    assert "10027700.tar.gz is truncated or damaged" in reasons["10027700.tar.gz"]


def test_a_series_that_was_unpacked_where_it_lies_is_used(tmp_path: Path) -> None:
    folder = write_dess(place(tmp_path, "V00", "9000099", "10027612"), "right")
    shutil.copytree(folder, tmp_path / "copy")
    pack(folder)
    shutil.copytree(tmp_path / "copy", folder)
    result = run(tmp_path / "results", tmp_path / "dest")
    assert not (tmp_path / "dest/dicom").exists()
    assert [item.reason for item in result.left_out] == [
        "00m/0.C.2/9000099/20040314/10027612 is the same series, unpacked, and is used"
    ]


def test_replaced_archives_of_label_maps(tmp_path: Path) -> None:
    """OAI-ZIB, with its list of series."""
    place_ = tmp_path / "results/00m/0.C.2/9001104/20041111/10000001"
    pack(write_image(place_, knee(0.2)))
    write_mask(tmp_path / "masks/9001104.segmentation_masks.mhd", knee(0.2).label_map)
    (tmp_path / "masks/oai_mri_paths.txt").write_text("9001104: 0.C.2/9001104/20041111/10000001/\n")
    found = []
    for severity in (0.2, 0.21):
        pack(write_image(place_, knee(severity)))
        images = tmp_path / "results"
        result = import_oai_zib(tmp_path / "masks", tmp_path / "dest", images=images, progress=False)
        found.append(result.manifest.table["source_hash"][0])
    assert found[0] != found[1]
    assert json.loads((tmp_path / "dest/import.json").read_text())["counts"]["knees"] == 1
