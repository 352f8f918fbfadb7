"""Inputs made to do harm, and unusual ones: one clear line each, or it works."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import openpyxl
import pytest
from privileges import locked_folder

from oahier.callbacks.run_folder import is_whole
from oahier.cli import main
from oahier.intake.oai_packed import unpack


@pytest.fixture
def knee(tmp_path: Path) -> Path:
    volume = np.random.default_rng(0).integers(0, 900, (6, 7, 8)).astype(np.int16)
    nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2, 2, 1])), tmp_path / "a.nii.gz")
    return tmp_path / "a.nii.gz"


def one_line(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The only line that a refused command prints on standard error."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    return lines[0]


def _tar(path: Path, *members: tuple[str, int, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, size, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, size, "/etc/passwd"
            archive.addfile(member, io.BytesIO(bytes(size)))
    return path


def test_tar_archives(tmp_path: Path) -> None:
    """Nothing outside of the folder, no links, and no more than images compress."""
    out = tmp_path / "out"
    bomb = _tar(tmp_path / "bomb.tar.gz", *((f"{n}", 33 << 20, tarfile.REGTYPE) for n in range(3)))
    with pytest.raises(ValueError, match=r"bomb\.tar\.gz is truncated or damaged: it would grow"):
        unpack(bomb, out / "bomb")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        with pytest.raises(ValueError, match=r"expected slices, got the member 'a/001', a link or too large"):
            unpack(_tar(tmp_path / "link.tar.gz", ("a/001", 0, kind)), out / "link")
    unpack(_tar(tmp_path / "up.tar.gz", ("../../escaped", 9, tarfile.REGTYPE)), out / "up")
    unpack(_tar(tmp_path / "root.tar.gz", ("/tmp/rooted", 9, tarfile.REGTYPE)), out / "root")
    assert sorted(path.name for path in out.rglob("*")) == ["escaped", "root", "rooted", "up"]
    assert not (tmp_path.parent / "escaped").exists()


def test_zip_archives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("imagesTr/oaizib_001_0000.nii.gz", bytes(30 << 20))
    said = one_line(capsys, "data", "import", "oaizib-cm", tmp_path / "bomb.zip", out)
    assert "bomb.zip: the member 'imagesTr/oaizib_001_0000.nii.gz' would grow from" in said
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as archive:
        archive.writestr("../imagesTr/oaizib_001_0000.nii.gz", b"x")
    said = one_line(capsys, "data", "import", "oaizib-cm", tmp_path / "up.zip", out)
    assert "leads out of the folder; nothing was extracted" in said
    _tar(tmp_path / "data.tar", ("a", 1, tarfile.REGTYPE))
    said = one_line(capsys, "data", "import", "oaizib-cm", tmp_path / "data.tar", out)
    assert "expected a folder or a .zip archive" in said


def test_workbooks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bomb.xlsx"
    book = openpyxl.Workbook()
    book.active.append(["subject", "mri"])
    book.save(tmp_path / "sound.xlsx")
    with (
        zipfile.ZipFile(tmp_path / "sound.xlsx") as sound,
        zipfile.ZipFile(path, "w", 8, compresslevel=9) as bad,
    ):
        for name in sound.namelist():
            sheet = name.endswith("sheet1.xml")
            bad.writestr(name, sound.read(name) + (b" " * (30 << 20) if sheet else b""))
    said = one_line(capsys, "data", "import", "table", path, tmp_path / "out")
    assert "bomb.xlsx: the member 'xl/worksheets/sheet1.xml' would grow" in said


def test_images_that_would_grow(knee: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    knee.write_bytes(gzip.compress(gzip.decompress(knee.read_bytes()) + bytes(40 << 20)))
    (tmp_path / "t.csv").write_text("subject,mri\n1,a.nii.gz\n")
    said = one_line(capsys, "data", "import", "table", tmp_path / "t.csv", tmp_path / "out")
    assert "it holds more than the 1024 bytes that the header says" in said


@pytest.mark.parametrize("words", [["data", "import", "table", "{}/t.csv"], ["data", "split", "{}/t.csv"]])
def test_folders_that_cannot_be_written(
    knee: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{n},{n},{knee.name},{n % 5}\n" for n in range(40))
    (tmp_path / "t.csv").write_text("knee,subject,mri,kl\n" + rows)
    (tmp_path / "file").touch()
    given = [word.replace("{}", str(tmp_path)) for word in words]
    said = one_line(capsys, *given, tmp_path / "file" / "out")
    assert "cannot write" in said
    with locked_folder(tmp_path) as locked:
        assert "cannot write" in one_line(capsys, *given, locked / "out")


def test_names_of_two_hundred_characters(
    knee: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "n" * 200
    deep = tmp_path / long / long
    deep.mkdir(parents=True)
    knee.rename(deep / f"{long}.nii.gz")
    (tmp_path / "t.csv").write_text(f"knee,subject,mri,site\n1,{long},{long}/{long}/{long}.nii.gz,{long}\n")
    out = tmp_path / "out" / long
    assert main(["data", "import", "table", str(tmp_path / "t.csv"), str(out), "--convert"]) == 0
    assert main(["data", "check", str(out / "manifest.csv"), "--html", str(out / f"{long}.html")]) == 0
    (tmp_path / "t.csv").write_text(f"knee,subject,mri\n{long},1,{long}/{long}/{long}.nii.gz\n")
    said = one_line(capsys, "data", "import", "table", tmp_path / "t.csv", tmp_path / "second")
    assert "is too long for a file name: use at most 120 characters" in said
    said = one_line(capsys, "data", "import", "table", tmp_path / "t.csv", tmp_path / (long * 2))
    assert "File name too long" in said


def test_configurations_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_bytes(gzip.compress(b"model: {}"))
    said = one_line(capsys, "fit", f"--config={tmp_path / 'run.yaml'}")
    assert "run.yaml, got another encoding" in said


def test_checkpoints_whose_directory_leads_nowhere(tmp_path: Path) -> None:
    """A flipped offset makes zipfile seek before the start of the file."""
    path = tmp_path / "last.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", bytes(500))
    assert is_whole(path)
    content = path.read_bytes()
    start = content.rindex(b"PK\5\6")
    for place in range(start, len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
        is_whole(path)
    path.write_bytes(content[: start + 16] + (2**31).to_bytes(4, "little") + content[start + 20 :])
    assert not is_whole(path)
