"""Files are whole or absent, and read back as they were meant."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from oahier.callbacks.files import write_arrays, write_atomically, write_figure, write_json, write_rows


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_content_of_every_kind_and_missing_folders(tmp_path):
    assert write_atomically(tmp_path / "a" / "b" / "text.txt", "é").read_text(encoding="utf-8") == "é"
    assert write_atomically(tmp_path / "bytes", b"\x00").read_bytes() == b"\x00"

    def save(path: Path) -> None:
        assert path.suffix == ".npz"
        path.write_text("by a function")

    assert write_atomically(tmp_path / "c.npz", save).read_text() == "by a function"


def test_a_failing_writer_leaves_the_old_file_and_no_other(tmp_path):
    path = write_atomically(tmp_path / "metrics.json", "old")

    def fail_half_way(temporary: Path) -> None:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail_half_way)
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["metrics.json"]


def test_a_full_disk_names_the_file(tmp_path):
    def full(temporary: Path) -> None:
        temporary.write_text("some")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"cannot write .*predictions\.csv: No space left on device"):
        write_atomically(tmp_path / "predictions.csv", full)
    assert _names(tmp_path) == []


def test_a_file_where_a_folder_is_needed_names_the_file(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*metrics\.json"):
        write_atomically(tmp_path / "run" / "metrics.json", "{}")


def test_rows_keep_single_precision_and_leave_unknown_cells_empty(tmp_path):
    value = np.float32(0.1) * np.float32(3)
    path = write_rows(
        tmp_path / "a.csv", ["knee", "x", "y"], [["a,b", float(value), None], ["c", math.nan, 3]]
    )
    lines = path.read_text().splitlines()
    assert lines[0] == "knee,x,y"
    assert np.float32(lines[1].split(",")[2]) == value
    assert lines[1].startswith('"a,b",')
    assert lines[2] == "c,,3"


def test_rows_of_another_length_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected 2 cells a row, got 1"):
        write_rows(tmp_path / "a.csv", ["knee", "x"], [["a"]])
    assert _names(tmp_path) == []


def test_json_is_strict(tmp_path):
    path = write_json(tmp_path / "a.json", {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": "x"}})

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    content = json.loads(path.read_text(), parse_constant=refuse)
    assert content == {"a": None, "b": [None, 1.5], "c": {"d": "x"}}


def test_arrays_load_without_pickle(tmp_path):
    path = write_arrays(tmp_path / "e.npz", knee=np.array(["a", "bc"]), embedding=np.eye(2, dtype=np.float32))
    with np.load(path, allow_pickle=False) as loaded:
        assert loaded["knee"].tolist() == ["a", "bc"]
        assert loaded["embedding"].dtype == np.float32
    with pytest.raises(ValueError, match=r"arrays \['knee'\] hold Python objects"):
        write_arrays(tmp_path / "f.npz", knee=np.array(["a"], dtype=object))


def test_figures_are_drawn_whatever_backend_the_session_has(tmp_path, monkeypatch):
    import matplotlib
    from matplotlib.figure import Figure

    monkeypatch.setitem(matplotlib.rcParams, "backend", "svg")
    path = write_figure(tmp_path / "pictures" / "a.png", Figure())
    assert path.read_bytes().startswith(b"\x89PNG")
    assert matplotlib.rcParams["backend"] == "svg"
