from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from miniature.dicom import write_dicom_series
from miniature.oaizib_cm import make_oaizib_cm, write_knee, zipped
from miniature.steps import KilledOnce

import oahier.intake.write as write
from oahier.images import read_image
from oahier.images.dicom import find_series, read_series
from oahier.intake import Candidate, LeftOut, finish_import, import_oaizib_cm
from oahier.intake.destination import ImportBusy, ImportInterrupted
from oahier.intake.journal import Journal

KILLS = Path(__file__).with_name("kill_imports.py")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(4):
        write_knee(
            tmp_path / "source" / f"k{number}.nii.gz",
            tmp_path / "source" / f"m{number}.nii.gz",
            number,
            number,
        )
    return tmp_path / "source"


@pytest.fixture
def knees(source: Path) -> list[Candidate]:
    return [
        Candidate(f"{n}-right", f"00{n}", "right", "", source / f"k{n}.nii.gz", source / f"m{n}.nii.gz", kl=n)
        for n in range(4)
    ]


def run(tmp_path: Path, knees: list[Candidate], left_out: list[LeftOut] | None = None, **options):
    options = {"importer": "test", "source": tmp_path / "source", "progress": False} | options
    return finish_import(tmp_path / "dest", knees, left_out or [], **options)


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the knees that are opened from now on."""
    names: list[str] = []
    examine = write.examine

    def spy(candidate, **options):
        names.append(candidate.knee)
        return examine(candidate, **options)

    monkeypatch.setattr(write, "examine", spy)
    return names


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


def test_manifest_log_and_provenance(tmp_path: Path, knees: list[Candidate]) -> None:
    knees[3] = replace(knees[3], kl=None, covariates={"sex": "F"})
    before = snapshot(tmp_path / "source")
    lost = [LeftOut("labels.csv row 9", "", "", "no image")]
    result = run(tmp_path, knees, lost, licence="mine", options={"n4": True, "path": Path("a")})
    lines = (tmp_path / "dest/manifest.csv").read_text().splitlines()
    assert lines[0] == "knee,subject,side,visit,mri,cartilage,kl,oa,split,sex,source,source_hash,licence"
    digest = subprocess.check_output(["sha256sum", str(tmp_path / "source/k3.nii.gz")], text=True).split()[0]
    assert (
        lines[4] == f"3-right,003,right,,../source/k3.nii.gz,../source/m3.nii.gz,,,,F,k3.nii.gz,{digest},mine"
    )
    assert result.manifest.labels("oa").tolist() == [0, 0, 1, -1]
    assert (tmp_path / "dest/left-out.csv").read_text() == (
        "source,knee,subject,reason\nlabels.csv row 9,,,no image\n"
    )
    report = json.loads((tmp_path / "dest/import.json").read_text())
    assert report == result.report
    assert report["counts"]["kl"] == {"0": 1, "1": 1, "2": 1, "unknown": 1}
    shared = {"insist": [], "convert": False, "mirror_left": False}
    assert report["options"] == {**shared, "n4": True, "path": "a"}
    assert report["written"] == {"files": 0, "bytes": 0}
    assert (tmp_path / "dest/data.yaml").read_text().splitlines()[1:] == [
        "data:",
        f"  manifest: {tmp_path}/dest/manifest.csv",
        "  mirror_left: false",
        "  bias_correction: true",
    ]
    assert snapshot(tmp_path / "source") == before


def test_a_finished_import_has_nothing_to_do(
    tmp_path: Path, knees: list[Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, knees, convert=True)
    before = snapshot(tmp_path / "dest")
    names = opened(monkeypatch)
    run(tmp_path, knees, convert=True)
    assert names == []
    after = snapshot(tmp_path / "dest")
    assert {path for path in before if before[path] != after[path]} <= {str(tmp_path / "dest/.import/lock")}


def test_only_what_changed_is_opened_again(
    tmp_path: Path, knees: list[Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, knees, convert=True)
    names = opened(monkeypatch)
    os.utime(knees[1].mri, ns=(1, 1))
    run(tmp_path, knees, convert=True)
    assert names == ["1-right"]
    (tmp_path / "dest/images/2-right.nii.gz").unlink()
    run(tmp_path, knees, convert=True)
    assert names == ["1-right", "2-right"]
    knees[0] = replace(knees[0], kl=4, side="left")  # tables are read every time
    result = run(tmp_path, knees, convert=True)
    assert names == ["1-right", "2-right"]
    assert result.manifest.table["kl"].tolist() == [4, 1, 2, 3]
    run(tmp_path, knees, convert=False)
    assert len(names) == 6


def test_files_of_knees_that_are_gone_are_removed(tmp_path: Path, knees: list[Candidate]) -> None:
    run(tmp_path, knees, convert=True)
    run(tmp_path, knees[:2], convert=True)
    assert sorted(path.name for path in (tmp_path / "dest/images").iterdir()) == [
        "0-right.nii.gz", "1-right.nii.gz",
    ]  # fmt: skip
    assert list(Journal(tmp_path / "dest")) == ["0-right", "1-right"]


def test_damaged_and_contradicting_knees_are_left_out(tmp_path: Path, knees: list[Candidate]) -> None:
    source = tmp_path / "source"
    (source / "k0.nii.gz").write_bytes((source / "k0.nii.gz").read_bytes()[:500])
    write_knee(source / "m1.nii.gz", None, 1, 1)  # an image in place of the labels
    write_knee(source / "k9.nii.gz", source / "m2.nii.gz", 2, 5)  # shifted
    (source / "m3.nii.gz").unlink()
    knees += [replace(knees[2], knee="a/b"), replace(knees[2], knee="twice"), replace(knees[3], knee="twice")]
    knees += [
        Candidate("map", "9", "", "", source / "m2.nii.gz"),
        Candidate("fine", "9", "", "", source / "k9.nii.gz"),
    ]
    result = run(tmp_path, knees)
    reasons = {item.knee: item.reason for item in result.left_out}
    assert result.manifest.table["knee"].tolist() == ["fine"]
    assert "k0.nii.gz is truncated or damaged" in reasons["0-right"]
    assert reasons["1-right"].startswith("m1.nii.gz: unknown label ids")
    assert "mask of another grid" in reasons["2-right"]
    assert "m3.nii.gz cannot be read: No such file" in reasons["3-right"]
    assert "cannot be a file name" in reasons["a/b"]
    assert "2 images would be the knee 'twice' (k2.nii.gz, k3.nii.gz)" in reasons["twice"]
    assert reasons["map"] == "m2.nii.gz: expected an image, got only 6 different values: is it a label map?"
    assert len(result.left_out) == 8


@pytest.mark.parametrize("names", [("a-right", "A-right"), ("Größe", "GRÖSSE"), ("\u00e9", "e\u0301")])
def test_names_that_are_one_file_on_some_disks(
    tmp_path: Path, knees: list[Candidate], names: tuple[str, str]
) -> None:
    knees[:2] = [replace(knee, knee=name) for knee, name in zip(knees, names, strict=False)]
    result = run(tmp_path, knees, convert=True)
    assert result.manifest.table["knee"].tolist() == ["2-right", "3-right"]
    assert sorted(item.knee for item in result.left_out) == sorted(names)
    for item in result.left_out:
        assert "2 images would be the knees " in item.reason
        assert "(k0.nii.gz, k1.nii.gz), which are one file where disks ignore case" in item.reason


def test_side_of_header_and_table(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 900, (8, 8, 6)).astype(np.int16)
    knees = []
    for name, side, header in (("a", "right", "L"), ("b", "", "L"), ("c", "left", "L"), ("d", "left", None)):
        folder = tmp_path / "source" / name
        write_dicom_series(folder, volume, Laterality=header, SeriesDescription="DESS")
        knees.append(Candidate(name, name, side, "", folder))
    result = run(tmp_path, knees)
    assert result.manifest.table[["knee", "side", "mri"]].to_numpy().tolist() == [
        ["b", "left", "../source/b"], ["c", "left", "../source/c"], ["d", "left", "../source/d"],
    ]  # fmt: skip
    [item] = result.left_out
    assert item.reason.startswith("side: the table says right, the image's header says left")


def test_a_series_among_others_is_written(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 900, (8, 9, 6)).astype(np.int16)
    affine = np.array([[0, 0, 2.0, -3], [1.5, 0, 0, 4], [0, -1.0, 0, 5], [0, 0, 0, 1]])
    write_dicom_series(tmp_path / "source", volume, affine, SeriesDescription="A", names="a{:03d}")
    write_dicom_series(tmp_path / "source", volume + 1, affine, SeriesDescription="B", names="b{:03d}")
    series = {item.description: item for item in find_series(tmp_path / "source")}
    result = run(tmp_path, [Candidate("x", "x", "", "", tmp_path / "source", series=series["B"])])
    assert result.manifest.table["mri"].tolist() == ["images/x.nii.gz"]
    image = read_image(tmp_path / "dest/images/x.nii.gz")
    expected = read_series(series["B"])
    np.testing.assert_array_equal(image.data, expected.data)
    assert sorted(image.data.flatten()) == sorted((volume + 1).flatten())
    assert image.grid.same_as(expected.grid, tolerance=1e-3)
    assert result.report["written"]["files"] == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_left_is_an_error_that_says_why(tmp_path: Path, knees: list[Candidate], workers: int) -> None:
    for knee in knees:
        knee.mri.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"none of 4 could be imported; .*left-out.csv says why.*k0.nii.gz"):
        run(tmp_path, knees, workers=workers)
    assert len((tmp_path / "dest/left-out.csv").read_text().splitlines()) == 5
    assert not (tmp_path / "dest/manifest.csv").exists()
    with pytest.raises(ValueError, match="found none; is it the right folder"):
        run(tmp_path, [])


def test_other_manifests_are_not_replaced(tmp_path: Path, knees: list[Candidate]) -> None:
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest/manifest.csv").write_text("mine")
    with pytest.raises(ValueError, match="that no import wrote"):
        run(tmp_path, knees)
    assert (tmp_path / "dest/manifest.csv").read_text() == "mine"
    (tmp_path / "dest/manifest.csv").unlink()
    run(tmp_path, knees)
    with pytest.raises(ValueError, match="holds an import of 'test', which 'other' would replace"):
        run(tmp_path, knees, importer="other")


def test_files_of_the_source_are_never_replaced(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_knee(tmp_path / f"dest/images/{name}.nii.gz", None, 1, 1)
    before = snapshot(tmp_path / "dest")
    knees = [Candidate("b", "1", "", "", tmp_path / "dest/images/a.nii.gz")]
    knees.append(Candidate("c", "1", "", "", tmp_path / "dest/images/../images/b.nii.gz"))
    with pytest.raises(
        ValueError, match=r"dest/images/b.nii.gz is a file of the source, and would be replaced"
    ):
        run(tmp_path, knees, source=tmp_path / "dest", convert=True)
    after = snapshot(tmp_path / "dest")
    assert {path: after[path] for path in before} == before
    assert len(run(tmp_path, knees, source=tmp_path / "dest").manifest) == 2


def test_a_destination_that_cannot_be_written(tmp_path: Path, knees: list[Candidate]) -> None:
    (tmp_path / "dest").write_text("a file")
    with pytest.raises(OSError, match=r"cannot write to .*dest: .*; choose another folder"):
        run(tmp_path, knees)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As if the disk were full once a file has ``size`` bytes."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_full_destination(tmp_path: Path, knees: list[Candidate]) -> None:
    with (
        largest_file(2000),
        pytest.raises(OSError, match=r"cannot write .*images/0-right.nii.gz: File too large"),
    ):
        run(tmp_path, knees, convert=True)
    assert not (tmp_path / "dest/manifest.csv").exists()
    assert not list((tmp_path / "dest/images").iterdir())
    assert len(run(tmp_path, knees, convert=True).manifest) == 4


def test_two_imports_at_once(tmp_path: Path, knees: list[Candidate]) -> None:
    run(tmp_path, knees)
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(tmp_path / "dest/.import/lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        with pytest.raises(ImportBusy, match=rf"written by another import \(process {os.getpid()} on .*wait"):
            run(tmp_path, knees)
        other.kill()
    assert len(run(tmp_path, knees).manifest) == 4


def test_a_worker_that_is_killed(tmp_path: Path, knees: list[Candidate]) -> None:
    knees = [replace(knee, mask=KilledOnce(tmp_path / "flag")) for knee in knees]
    with pytest.raises(
        ImportInterrupted, match=r"was killed while it read 0-right; what was done is kept .*run the same"
    ):
        run(tmp_path, knees, workers=1)
    assert not (tmp_path / "dest/manifest.csv").exists()
    result = run(tmp_path, knees, workers=2)
    assert len(result.manifest) == 4
    assert result.report["notes"][0] == "0-right: m0.nii.gz: looked at"


def test_workers_make_the_same_files(tmp_path: Path, knees: list[Candidate]) -> None:
    run(tmp_path, knees, convert=True)
    alone = {path.name: path.read_bytes() for path in (tmp_path / "dest").rglob("*.*") if path.is_file()}
    (tmp_path / "dest").rename(tmp_path / "old")
    run(tmp_path, knees, convert=True, workers=2)
    assert alone == {
        path.name: path.read_bytes() for path in (tmp_path / "dest").rglob("*.*") if path.is_file()
    }
    with pytest.raises(ValueError, match="expected workers of 0 or more, got -1"):
        run(tmp_path, [*knees, replace(knees[0], knee="new")], workers=-1)


@pytest.mark.parametrize(
    ("kills", "workers"), [(5, 0), pytest.param(25, 2, marks=pytest.mark.slow, id="25-workers")]
)
def test_killed_imports_lose_nothing(tmp_path: Path, kills: int, workers: int) -> None:
    make_oaizib_cm(tmp_path / "tree", train=24, test=8)
    archive = zipped(tmp_path / "tree", tmp_path / "OAIZIB-CM.zip")
    (tmp_path / "tree/imagesTr/oaizib_005_0000.nii.gz").unlink()
    whole = import_oaizib_cm(archive, tmp_path / "whole", progress=False)
    command = [sys.executable, str(KILLS), str(archive), str(tmp_path / "killed"), str(kills), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["killed", str(kills)], done.stderr
    result = import_oaizib_cm(archive, tmp_path / "killed", progress=False)
    for name in ("manifest.csv", "left-out.csv", "import.json"):
        assert (result.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    for folder in ("images", "cartilage"):
        expected = {path.name: path.read_bytes() for path in (whole.folder / folder).iterdir()}
        assert expected == {path.name: path.read_bytes() for path in (result.folder / folder).iterdir()}
    assert not list(result.folder.glob("**/.*.gz"))
