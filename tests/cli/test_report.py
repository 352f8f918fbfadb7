"""The tables and lines that end a command."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from oahier.callbacks.run_results import Results, results_table
from oahier.cli.report import shown_files

VALUES = {
    "test/kl/qwk": 0.71234, "test/kl/knees": 12.0, "test/kl/macro_auc": math.nan, "test/loss": 1.5,
    "test/kl/oa_auc": 0.9, "test/axis/separation": 1.25, "test/kl/accuracy": 0.5, "test/kl/mae": 0.61,
    "test/oa/auc": 0.93, "test/oa/accuracy": 0.8, "test/saliency/iou": math.nan, "test/saliency/knees": 0.0,
}  # fmt: skip
INTERVALS = {"test/kl/qwk": [0.6, 0.8], "test/kl/macro_auc": [None, None]}


def lines(results: Results) -> list[list[str]]:
    """The cells of every row of the tables as text."""
    rows = [line.strip("│").split("│") for line in str(results).splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row] for row in rows]


def test_headline_first_and_nothing_undefined_that_does_not_apply(tmp_path: Path) -> None:
    results = Results("Results of 12 knees: best.ckpt", results_table(VALUES, INTERVALS), tmp_path, ("rule",))
    assert lines(results) == [
        ["kl", "QWK", "0.712", "0.600 to 0.800"],
        ["oa", "AUC", "0.930", ""],
        ["kl", "accuracy", "0.500", ""],
        ["", "MAE", "0.610", ""],
        ["", "loss", "1.500", ""],
        ["axis", "separation", "1.250", ""],
        ["kl", "macro AUC", "undefined", "undefined"],
        ["", "accuracy", "0.500", ""],
        ["", "QWK", "0.712", "0.600 to 0.800"],
        ["", "MAE", "0.610", ""],
        ["", "knees", "12", ""],
        ["", "OA AUC", "0.900", ""],
        ["oa", "AUC", "0.930", ""],
        ["", "accuracy", "0.800", ""],
    ]
    assert str(results).startswith("Results of 12 knees: best.ckpt")
    assert str(results).strip().endswith("rule")
    assert results.headline["value"].tolist() == [0.71234, 0.93, 0.5, 0.61]
    shown = results._repr_html_()
    assert shown.count("<table") == 2
    assert "0.600 to 0.800" in shown
    assert "overlap" not in shown


@pytest.mark.parametrize(
    ("kept", "headline"),
    [("oa", ["auc", "accuracy"]), ("kl", ["qwk", "oa_auc", "accuracy", "mae"])],
)
def test_headline_of_one_head(kept: str, headline: list[str], tmp_path: Path) -> None:
    values = {key: value for key, value in VALUES.items() if f"/{kept}/" in key}
    assert Results("", results_table(values, {}), tmp_path).headline["metric"].tolist() == headline


def test_files_without_locks_and_with_few_words_for_figures(tmp_path: Path) -> None:
    for name in (".lock", "metrics.json", "checkpoints/best.ckpt", *(f"pictures/{n}.png" for n in "abcd")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(shown_files(tmp_path)) == [
        "checkpoints/best.ckpt", "metrics.json", "pictures/: 4 figures, such as a.png, b.png, c.png",
    ]  # fmt: skip
