"""``oahier compare`` from files to a table."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent / "analysis"))

from made_predictions import columns

from oahier.cli import main
from oahier.metrics import registered

CONTRACT = ["task", "metric", "a", "b", "difference", "ci_low", "ci_high", "p_value", "test", "n"]


def _file(path: Path, seed: int, drop: str = "-", knees: int = 40, **arguments: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {
        name: cells for name, cells in columns(knees, seed, **arguments).items() if not name.startswith(drop)
    }
    pd.DataFrame(table).sample(frac=1, random_state=seed).to_csv(path, index=False)
    return str(path)


def test_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = _file(tmp_path / "a.csv", 0), _file(tmp_path / "b.csv", 1)
    out = tmp_path / "tables" / "table.csv"
    assert main(["compare", a, b, "--resamples", "200", "--seed", "1", "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert list(table.columns[: len(CONTRACT)]) == CONTRACT
    assert len(table) == sum(one.compared for kind in ("binary", "ordinal") for one in registered(kind))
    assert (table["difference"] - (table["b"] - table["a"])).abs().max() < 1e-12
    assert (table["p_adjusted"] >= table["p_value"] - 1e-15).all()
    assert set(table["correction"]) == {"bh"}
    printed = capsys.readouterr().out
    assert "40 knees of 40 subjects, one model a side; intervals conditional on the one run" in printed
    words = " ".join(printed.split())
    assert "- KL qwk, conditional on the one run a side (new knees): b - a is" in words
    assert "chance that b is not better" in words
    again = tmp_path / "again.csv"
    main(["compare", a, b, "--resamples", "200", "--seed", "1", "--out", str(again)])
    assert again.read_text() == out.read_text()
    assert sorted(path.name for path in out.parent.iterdir()) == ["table.csv"]


def test_many_knees_show_how_far_reading_and_comparing_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = _file(tmp_path / "a.csv", 0), _file(tmp_path / "b.csv", 1)
    words = ["compare", a, b, "--metrics", "auc", "qwk"]
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes standard error for a terminal
    main(words)
    assert "reading" not in capsys.readouterr().err, "a small table needs no bar"
    monkeypatch.setattr("oahier.cli.compare._LARGE", 100)
    monkeypatch.setattr("oahier.cli.compare._MANY", 10)
    main(words)
    told = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert re.search(r"reading a\.csv.* 40/\?", told)
    assert re.search(r"reading b\.csv.* 40/\?", told)
    assert re.search(r"comparing.* 160/160", told), "two metrics, two models, forty subjects left out"


def test_patterns_are_seeds_and_folders_are_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(3):
        _file(tmp_path / f"single_{seed}" / "predictions.csv", seed)
    _file(tmp_path / "dual" / "predictions.csv", 7)
    pattern, out = str(tmp_path / "single_*" / "predictions.csv"), tmp_path / "t.csv"
    words = ["compare", pattern, str(tmp_path / "dual"), "--resamples", "50", "--out", str(out)]
    assert main([*words, "--metrics", "auc", "qwk"]) == 0
    table = pd.read_csv(out)
    assert table["metric"].tolist() == ["auc", "qwk"]
    assert set(table["scope"]) == {"trained models"}
    assert table["note"].str.contains("not for the recipe").all()


def test_relative_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _file(Path("runs/a/predictions.csv"), 0), _file(Path("runs/b/predictions.csv"), 1)
    assert main(["compare", "runs/a", "runs/?/predictions.csv", "--resamples", "5"]) == 0


def test_seeds_have_an_answer_for_the_recipe_and_one_for_the_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(6):
        _file(tmp_path / "ab"[seed // 3] / f"{seed % 3}.csv", seed)
    words = ["compare", str(tmp_path / "a/*.csv"), str(tmp_path / "b/*.csv"), "--metrics", "qwk"]
    assert main([*words, "--paired-seeds", "--margin", "qwk=0.5"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "KL qwk, for this recipe (new knees, new runs): b - a is" in printed
    assert "(margin 0.5)" in printed
    assert "KL qwk, for these trained models (new knees): 95 % interval" in printed
    assert main([*words, "--method", "bootstrap", "--resamples", "50"]) == 0
    assert "paired bootstrap" in capsys.readouterr().out
    assert main([*words, "--margin", "wide"]) == 2
    assert "margin: expected a number above 0" in capsys.readouterr().err


def test_a_family_of_pairs_shares_one_correction(tmp_path: Path) -> None:
    files = [_file(tmp_path / f"{seed}.csv", seed) for seed in range(4)]
    out = tmp_path / "t.csv"
    words = [
        "compare",
        "--pair",
        *files[:2],
        "--pair",
        *files[2:],
        "--metrics",
        "accuracy",
        "--resamples",
        "50",
    ]
    assert main([*words, "--correction", "holm", "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert len(table) == 4
    assert table["model_a"].nunique() == 2
    smallest = table["p_value"].idxmin()
    assert table["p_adjusted"][smallest] == pytest.approx(min(1, 4 * table["p_value"][smallest]))


def test_missing_subjects_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (_file(tmp_path / f"{seed}.csv", seed, drop="subject") for seed in range(2))
    assert main(["compare", a, b, "--resamples", "10"]) == 0
    assert "each knee counts as a subject" in " ".join(capsys.readouterr().out.split())


def test_oa_from_kl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kl, oa = _file(tmp_path / "kl.csv", 0, drop="prob_oa"), _file(tmp_path / "oa.csv", 1, drop="prob_kl")
    assert main(["compare", kl, oa]) == 2
    assert "--oa-from-kl" in capsys.readouterr().err
    assert main(["compare", kl, oa, "--oa-from-kl", "--resamples", "20", "--auc-test", "delong"]) == 0


def test_undefined_resamples_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for seed in range(2):
        table = columns(40, seed) | {"label_oa": [0] * 39 + [1]}
        files.append(str(tmp_path / f"{seed}.csv"))
        pd.DataFrame(table).to_csv(files[-1], index=False)
    assert main(["compare", *files, "--resamples", "50", "--metrics", "auc"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "without a value when left out, or resampled: OA auc 1" in printed
    assert "No interval: without any one of 1 subjects a class would be absent." in printed


def test_tests_are_told_in_a_narrow_window(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fallback from DeLong to the bootstrap would go unseen otherwise."""
    monkeypatch.setenv("COLUMNS", "80")
    files = [_file(tmp_path / f"{seed}.csv", seed) for seed in range(2)]
    words = ["--resamples", "10", "--auc-test", "delong", "--metrics", "auc", "accuracy", "qwk", "mae", "rps"]
    main(["compare", *files, *words])
    printed = " ".join(capsys.readouterr().out.split())
    assert "tests: delong (OA auc), mcnemar exact (OA accuracy, KL accuracy), jackknife (all else)" in printed
    assert "No DeLong test" not in printed

    paired = [_file(tmp_path / f"paired-{seed}.csv", seed, per_subject=2) for seed in range(2)]
    main(["compare", *paired, *words])
    printed = " ".join(capsys.readouterr().out.split())
    assert "tests: clustered delong (OA auc)" in printed
    assert "No DeLong test" not in printed

    few = [_file(tmp_path / f"few-{seed}.csv", seed, knees=14) for seed in range(2)]
    main(["compare", *few, *words])
    printed = " ".join(capsys.readouterr().out.split())
    assert "No DeLong test: it needs the AUC of a head of two classes and more than sixteen" in printed

    monkeypatch.setenv("COLUMNS", "140")
    main(["compare", *few, *words])
    printed = " ".join(capsys.readouterr().out.split())
    assert "tests:" not in printed
    assert "No DeLong test" in printed


def test_a_head_of_any_name_from_file_to_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for seed in range(2):
        table = columns(40, seed)
        renamed = {name.replace("_kl", "_jsn"): cells for name, cells in table.items() if "_oa" not in name}
        files.append(str(tmp_path / f"{seed}.csv"))
        pd.DataFrame(renamed).to_csv(files[-1], index=False)
    out = tmp_path / "t.csv"
    assert main(["compare", *files, "--resamples", "20", "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert set(table["task"]) == {"jsn"}
    assert table["metric"].tolist() == [one.name for one in registered("ordinal") if one.compared]
    assert "jsn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected two prediction files A B, or --pair A B"),
        (["a.csv"], "expected two models A B, got 1"),
        (["a.csv", "b.csv", "c.csv"], "put a pattern in quotes"),
        (["nowhere.csv", "a.csv"], "nowhere.csv: no such file or folder"),
        (["empty", "a.csv"], "empty: expected a folder with a predictions.csv"),
        (["a.csv", "fewer.csv"], "expected the same knees"),
        (["a.csv", "b.csv", "--resamples", "0"], "--resamples: expected 1 or more"),
        (["a.csv", "b.csv", "--seed", "-1"], "--seed: expected 0 or more"),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    _file(Path("a.csv"), 0), _file(Path("b.csv"), 1)
    pd.read_csv("a.csv").head(30).to_csv("fewer.csv", index=False)
    Path("empty").mkdir()
    assert main(["compare", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_paper_rows_from_the_command_line(shared_data: Path, tmp_path: Path) -> None:
    paper = shared_data.parent / "paper"
    if not (paper / "paired-statistics.csv").is_file():
        pytest.skip(f"the paper's evaluation files are not at {paper}")
    file = {name: str(paper / f"resnet3d-{name}-predictions.csv") for name in ("single-oa", "dual")}
    out = tmp_path / "t.csv"
    words = [
        "compare",
        file["single-oa"],
        file["dual"],
        "--published-order",
        "--metrics",
        "auc",
        "accuracy",
        "f1",
    ]
    assert main([*words, "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert table["p_value"].tolist() == pytest.approx([0.587941205879412, 0.79052734375, 0.39036096390360964])
