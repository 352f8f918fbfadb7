"""``oahier study`` through the front door."""

from __future__ import annotations

from pathlib import Path

import pytest

from oahier.cli import main
from oahier.study import read_study


def test_from_plan_to_page(write_plan, tmp_path, capsys):
    plan = str(write_plan(grid={"supervision": ["single-oa", "dual"], "seed": [0]}))
    out = str(tmp_path / "out")
    assert main(["study", "run", plan, "--out", out, "--check"]) == 0
    assert "2 cells, each configuration is valid" in capsys.readouterr().out
    assert not Path(out).exists()

    assert main(["study", "run", plan, "--out", out]) == 0
    printed = capsys.readouterr().out
    assert "[1/2] single-oa_0 finished" in printed
    assert "2 of 2 cells ended well" in printed
    assert "Trainer" not in printed
    assert main(["study", "status", out]) == 0
    assert "2 finished" in capsys.readouterr().out
    assert main(["study", "status", out, "--watch"]) == 0
    assert "2 finished" in capsys.readouterr().out

    assert main(["study", "report", out, "--margin", "[qwk=0.1]"]) == 0
    page = Path(capsys.readouterr().out.splitlines()[0])
    assert "mini" in page.read_text(encoding="utf-8")
    assert sorted(path.stem for path in (tmp_path / "out" / "tables").glob("*.csv")) == [
        "axis", "axis_comparisons", "cells", "comparisons", "headline", "saliency", "saliency_comparisons",
        "similarity",
    ]  # fmt: skip


def test_failures_show_in_lines_table_and_status(write_plan, tmp_path, capsys):
    variants = {"bad": {"model.encoder.init_args.depth": 11}}
    plan = str(write_plan(grid={"variant": variants, "supervision": ["dual"], "seed": [0]}))
    out = str(tmp_path / "out")
    assert main(["study", "run", plan, "--out", out]) == 1
    printed = capsys.readouterr().out
    assert "[1/1] bad_dual_0 failed: " in printed
    assert "depth must be one of [10, 18, 34], got 11" in printed
    assert main(["study", "status", out]) == 1
    assert "1 failed" in capsys.readouterr().out
    assert main(["study", "cell", str(tmp_path / "out" / "cells" / "bad_dual_0")]) == 1
    capsys.readouterr()
    assert main(["study", "report", out]) == 2
    assert "no cell is finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nowhere.yaml", "--out", "x"], "nowhere.yaml: no such file"),
        (["status", "."], "expected the folder of a study"),
        (["report", "."], "expected the folder of a study"),
        (["cell", "."], "expected the folder of a cell"),
    ],
)
def test_errors_are_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_options_out_of_range(write_plan, tmp_path, capsys):
    plan, out = str(write_plan()), str(tmp_path / "out")
    assert main(["study", "run", plan, "--out", out, "--executor", "pool", "--workers", "0"]) == 2
    assert "--workers: expected 1 or more, got 0" in capsys.readouterr().err


def test_a_growing_study_runs_only_what_is_new(write_plan, tmp_path, capsys):
    out = tmp_path / "out"
    main(["study", "run", str(write_plan(grid={"supervision": ["dual"], "seed": [0]})), "--out", str(out)])
    stamp = (out / "cells" / "dual_0" / "metrics.json").stat().st_mtime_ns
    main(["study", "run", str(write_plan(grid={"supervision": ["dual"], "seed": [0, 1]})), "--out", str(out)])
    assert [cell.state for cell in read_study(out).cells] == ["finished", "finished"]
    assert (out / "cells" / "dual_0" / "metrics.json").stat().st_mtime_ns == stamp
