from __future__ import annotations

import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oahier.intake.archives import Archive
from oahier.intake.source_files import SourceFiles
from oahier.zips import UnsafeArchive


def pack(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return path


def link(path: Path, kind: int = stat.S_IFLNK) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("images/passwd")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return path


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.nii.gz", "leads out of the folder"),
        ("a/../../evil", "leads out of the folder"),
        ("a\\..\\..\\evil", "leads out of the folder"),
        ("/etc/passwd", "has an absolute path"),
        ("\\\\server\\share", "has an absolute path"),
        ("C:evil", "has an absolute path"),
        ("c:\\evil", "has an absolute path"),
        ("a\nb", "has a name that cannot be printed"),
    ],
)
def test_names_that_escape(tmp_path: Path, name: str, why: str) -> None:
    path = pack(tmp_path / "a.zip", {"good.txt": b"1", name: b"2"})
    with pytest.raises(UnsafeArchive, match=why) as error:
        Archive(path)
    assert repr(name) in str(error.value)


@pytest.mark.parametrize(
    ("kind", "why"), [(stat.S_IFLNK, "is a symbolic link"), (stat.S_IFIFO, "is no regular file")]
)
def test_links_and_pipes(tmp_path: Path, kind: int, why: str) -> None:
    with pytest.raises(UnsafeArchive, match=f"'images/passwd' {why}"):
        Archive(link(tmp_path / "a.zip", kind))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/b", "1")
        archive.writestr("a/b", "2")
    with pytest.raises(UnsafeArchive, match="'a/b' occurs twice"):
        Archive(tmp_path / "a.zip")


def test_encrypted_members(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"secret": b"1"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UnsafeArchive, match="'secret' is encrypted"):
        Archive(path)


def test_bombs(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"zeros": bytes(40 << 20)})
    with pytest.raises(UnsafeArchive, match="'zeros' would grow from"):
        Archive(path)
    content = bytearray(pack(tmp_path / "b.zip", {"a": os.urandom(2000), "b": os.urandom(2000)}).read_bytes())
    place = content.rindex(b"PK\x01\x02") + 20
    content[place : place + 4] = struct.pack("<I", 1 << 20)  # the second reaches into the first
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(UnsafeArchive, match="members overlap"):
        Archive(tmp_path / "b.zip")


def test_an_empty_label_map_is_no_bomb(tmp_path: Path) -> None:
    content = bytearray(os.urandom(40_000)) + bytes(20 << 20)
    archive = Archive(pack(tmp_path / "a.zip", {"labels.nii": bytes(content)}))
    assert archive.read("labels.nii") == content


def test_truncated_and_foreign_files(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a": os.urandom(5000)})
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"a.zip is truncated or no zip archive.*download it again"):
        Archive(path)
    with pytest.raises(OSError, match=r"cannot read .*none.zip"):
        Archive(tmp_path / "none.zip")


def extract(archive: Archive, folder: Path, *names: str) -> dict[str, str]:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    return archive.extract({name: folder / "images" / name for name in names}, folder)


def test_only_what_is_needed_is_extracted_once(tmp_path: Path) -> None:
    archive = Archive(pack(tmp_path / "a.zip", {"a": b"1" * 50, "b": b"2" * 60, "c": b"3"}))
    folder = tmp_path / "dest"
    assert extract(archive, folder, "a", "b") == {}
    images = folder / "images"
    assert {path.name: path.read_bytes() for path in images.iterdir()} == {"a": b"1" * 50, "b": b"2" * 60}
    before = (images / "a").stat().st_mtime_ns
    assert archive.waiting({"a": images / "a", "c": images / "c"}, folder) == 1
    assert extract(archive, folder, "a", "b") == {}
    assert (images / "a").stat().st_mtime_ns == before
    (images / "b").write_bytes(b"?" * 60)  # same size, not what was extracted
    assert extract(archive, folder, "a", "b") == {}
    assert (images / "b").read_bytes() == b"2" * 60


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_named_and_the_others_are_there(tmp_path: Path, method: int) -> None:
    noise = os.urandom(5000)
    path = pack(tmp_path / "a.zip", {"a": noise, "b": b"fine"}, method)
    content = bytearray(path.read_bytes())
    content[2500] ^= 255
    path.write_bytes(content)
    problems = extract(Archive(path), tmp_path / "dest", "a", "b")
    assert list(problems) == ["a"]
    assert problems["a"].startswith("a.zip/a is damaged")
    assert [path.name for path in (tmp_path / "dest/images").iterdir()] == ["b"]


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(pack(tmp_path / "a.zip", {"a": bytes(5_000_000) + os.urandom(500_000)}))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OSError, match=r"cannot extract 5.5 MB from a.zip to .*: only 1.0 kB are free"):
        extract(archive, tmp_path / "dest", "a")


def test_files_of_a_folder_with_archives(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    (source / ".hidden").mkdir()
    (source / ".hidden/a").touch()
    (source / "dest/images").mkdir(parents=True)
    (source / "dest/images/x").touch()
    (source / "images/a").write_bytes(b"1")
    (source / "images/._a").touch()
    (source / "out").symlink_to(tmp_path)
    pack(source / "b.zip", {"images/b": b"2", "images/a": b"3", "__MACOSX/images/._b": b""})
    files = SourceFiles(source, source / "dest")
    assert files.names == ["b.zip", "images/a", "b.zip/images/b", "b.zip/images/a"]
    assert files.read("images/a") is None
    assert files.read("b.zip/images/a") == b"3"
    paths, lost = files.take({"images/a": "x/a", "b.zip/images/b": "x/b"}, progress=False)
    assert lost == {}
    assert paths == {"images/a": source / "images/a", "b.zip/images/b": source / "dest/x/b"}
    with pytest.raises(ValueError, match=r"expected a folder or a .zip archive"):
        SourceFiles(source / "images/a", tmp_path)
    with pytest.raises(OSError, match="no such file or folder"):
        SourceFiles(source / "none", tmp_path)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_found(tmp_path: Path, data: st.DataObject) -> None:
    """Bits that flip anywhere: the members come out as they were, or an error names the archive."""
    members = {"images/a": bytes(range(256)) * 4, "info.csv": b"ID,kl\n1,2\n"}
    content = bytearray(pack(tmp_path / "a.zip", members).read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "a.zip").write_bytes(content)
    try:
        archive = Archive(tmp_path / "a.zip")
        found = {name: archive.read(name) for name in archive.names}
    except ValueError as error:
        assert "a.zip" in str(error)  # noqa: PT017  (there may be no error)
    else:
        assert all(found[name] == members[name] for name in found if name in members)
