from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import KL_COLUMNS, columns

from oahier.statistics import Predictions, parse_predictions, read_predictions
from oahier.statistics.paired_predictions import align


def _written(folder: Path, table: dict[str, Any], name: str = "predictions.csv") -> Path:
    path = folder / name
    pd.DataFrame(table).to_csv(path, index=False)
    return path


def _changed(column: str, row: int, value: object) -> dict[str, Any]:
    table = columns(10)
    cells = list(table[column])
    cells[row] = value
    return table | {column: cells}


def test_a_file_reads_as_it_was_written(tmp_path: Path) -> None:
    table = columns(10, per_subject=2)
    found = read_predictions(_written(tmp_path, table))
    assert found.knee.tolist() == table["knee"]
    assert found.subject.tolist() == table["subject"]
    assert found.labels["kl"].tolist() == table["label_kl"]
    np.testing.assert_array_equal(found.heads["oa"].probabilities[:, 1], table["prob_oa"])
    kl = found.heads["kl"]
    np.testing.assert_array_equal(kl.probabilities, np.stack([table[name] for name in KL_COLUMNS], axis=1))
    np.testing.assert_allclose(kl.severity, kl.probabilities @ np.arange(5))
    np.testing.assert_array_equal(kl.predicted, kl.probabilities.argmax(axis=1))


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(10)))
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    table = columns(10)
    shuffled = {name: [cells[row] for row in order] for name, cells in table.items()}
    first, second = parse_predictions(table), parse_predictions(shuffled)
    for name in ("knee", "subject", "source", "subject_given"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_equal(first.labels, second.labels)
    assert list(first.heads) == list(second.heads) == ["oa", "kl"]
    for name in first.heads:
        np.testing.assert_equal(vars(first.heads[name]), vars(second.heads[name]))


def test_a_head_without_columns_does_not_exist() -> None:
    table = columns(10)
    kl_only = parse_predictions({name: cells for name, cells in table.items() if name != "prob_oa"})
    assert list(kl_only.heads) == ["kl"]
    oa_only = parse_predictions({name: table[name] for name in ("knee", "subject", "label_oa", "prob_oa")})
    assert list(oa_only.heads) == ["oa"]
    assert oa_only.labels["kl"].tolist() == [-1] * 10


def test_decisions_and_severity_of_the_file_are_taken() -> None:
    table = columns(10) | {"pred_kl": [4] * 10, "pred_oa": [0] * 10, "severity_kl": list(range(10))}
    found = parse_predictions(table)
    assert found.heads["kl"].predicted.tolist() == [4] * 10
    assert found.heads["oa"].predicted.tolist() == [0] * 10
    assert found.heads["kl"].severity.tolist() == list(range(10))


def test_oa_follows_from_the_grade_where_it_is_not_given() -> None:
    table = columns(10)
    expected = table.pop("label_oa")
    assert parse_predictions(table).labels["oa"].tolist() == expected


def test_unknown_labels_and_further_columns_are_allowed() -> None:
    table = _changed("label_kl", 3, "") | {"prob_oa_from_kl": [7] * 10}
    found = parse_predictions(table)
    assert found.labels["kl"][3] == -1
    assert found.labels["oa"][3] in (0, 1)


def test_without_subjects_each_knee_is_one() -> None:
    table = columns(10)
    del table["subject"]
    found = parse_predictions(table)
    assert found.subject.tolist() == found.knee.tolist()
    assert not found.subject_given


def test_rounded_probabilities_pass() -> None:
    table = columns(10)
    rounded = {name: np.round(table[name], 5) for name in KL_COLUMNS}
    assert "kl" in parse_predictions(table | rounded).heads
    assert "oa" in parse_predictions(_changed("prob_oa", 0, 1.0000001)).heads


BAD: list[tuple[dict[str, Any], str]] = [
    (
        _changed("prob_oa", 2, "nan"),
        r"row 4 \(knee k002\), column prob_oa: expected a probability .* got an empty",
    ),
    (_changed("prob_oa", 2, 1.2), r"row 4 \(knee k002\), column prob_oa: .* got 1.2; write probabilities"),
    (_changed("prob_kl_3", 1, -0.1), r"row 3 \(knee k001\), column prob_kl_3: .*from 0 to 1, got -0.1"),
    (
        _changed("prob_kl_3", 1, 0.9),
        r"row 3 \(knee k001\), columns prob_kl_0 to prob_kl_4: expected a sum of 1",
    ),
    (_changed("prob_kl_3", 1, "high"), r"row 3 \(knee k001\), column prob_kl_3: .* got 'high'"),
    (_changed("prob_kl_3", 1, float("inf")), r"column prob_kl_3: .* got 'inf'"),
    (
        _changed("label_kl", 0, 5),
        r"row 2 \(knee k000\), column label_kl: expected a whole number 0 to 4, got '5'",
    ),
    (_changed("label_kl", 0, "0_1"), r"column label_kl: expected a whole number 0 to 4.*, got '0_1'"),
    (_changed("label_kl", 0, "\u0661"), r"column label_kl: expected a whole number 0 to 4.*, got"),
    (_changed("label_kl", 0, -1), r"column label_kl: expected a whole number 0 to 4, got '-1'"),
    (_changed("label_oa", 0, 0.5), r"column label_oa: expected a whole number 0 to 1, got '0.5'"),
    (columns(10) | {"pred_kl": [5] * 10}, r"column pred_kl: expected a whole number 0 to 4, got '5'"),
    (_changed("knee", 4, "k001"), r"row 6, column knee: 'k001' stands in row 3 already"),
    (_changed("knee", 4, ""), r"row 6, column knee: expected a name, got an empty cell"),
    (_changed("knee", 4, "NA"), r"row 6, column knee: expected a name, got an empty cell \(NA, "),
    (_changed("subject", 4, " "), r"row 6, column subject: expected a name"),
    ({"subject": ["a"], "label_oa": [0], "prob_oa": [0.1]}, "expected a column knee, got columns subject"),
    ({"knee": ["a"], "prob_oa": [0.1]}, "expected a column label_kl or label_oa"),
    ({"knee": ["a"], "label_oa": [1]}, "expected a column prob_oa or columns prob_kl_0"),
    (
        {"knee": ["a"], "label_kl": [1], "prob_kl_0": [1.0]},
        "prob_kl_1, prob_kl_2, prob_kl_3, prob_kl_4 missing",
    ),
    ({"knee": [], "label_kl": [], "prob_oa": []}, "expected at least one knee"),
]


@pytest.mark.parametrize(("table", "message"), BAD)
def test_bad_tables_are_refused_by_row_and_column(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_predictions(table, "mine.csv")
    assert str(error.value).startswith("mine.csv: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a column knee, got columns none"),
        ("knee,label_oa,prob_oa\na,1\n", "row 2: expected 3 cells, got 2"),
        ("knee,label_oa,prob_oa,prob_oa\na,1,0.5,0.5\n", "column prob_oa occurs twice"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_predictions(path)


@pytest.mark.parametrize("block", [1, 4, 20_000])
def test_a_file_reads_as_its_table_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """In blocks of rows, with cells that are unknown, of other scripts, padded, or marked as no formula."""
    monkeypatch.setattr("oahier.statistics.predictions._BLOCK", block)
    table = columns(11, per_subject=2)
    table["label_kl"] = ["", " 3 ", "NaN", *table["label_kl"][3:]]
    table["subject"] = ["é", "=1", *table["subject"][2:]]
    table["severity_kl"] = [f"{number:.17g}" for number in np.random.default_rng(0).normal(size=11)]
    table["comment"] = ["é_'"] * 11
    told: list[int] = []
    path = _written(tmp_path, table | {"subject": ["é", "'=1", *table["subject"][2:]]})
    found, expected = read_predictions(path, advance=told.append), parse_predictions(table)
    assert sum(told) == 11
    assert found.subject.tolist() == expected.subject.tolist()
    assert "=1" in found.subject.tolist()
    np.testing.assert_equal(found.labels, expected.labels)
    for name, head in expected.heads.items():
        np.testing.assert_equal(vars(found.heads[name]), vars(head))


@pytest.mark.parametrize("cell", ["0_1", "\u0661", "high", "inf", "1\0", "0." + "1" * 80 + "x"])
def test_a_wrong_number_is_named_in_whichever_block_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str
) -> None:
    monkeypatch.setattr("oahier.statistics.predictions._BLOCK", 3)
    path = tmp_path / "mine.csv"
    lines = [f"k{row},1,{cell if row == 8 else 0.5}" for row in range(10)]
    path.write_text("\n".join(["knee,label_oa,prob_oa", *lines]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"row 10 \(knee k8\), column prob_oa: expected a probability"):
        read_predictions(path)


def test_a_short_row_is_named_in_whichever_block_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oahier.statistics.predictions._BLOCK", 3)
    path = tmp_path / "mine.csv"
    lines = [f"k{row},1" + ",0.5" * (row != 7) for row in range(10)]
    path.write_text("\n".join(["knee,label_oa,prob_oa", *lines]))
    with pytest.raises(ValueError, match="row 9: expected 3 cells, got 2"):
        read_predictions(path)


def _model(table: dict[str, Any], name: str) -> Predictions:
    return parse_predictions(table, name)


def test_different_knees_are_listed() -> None:
    fewer = {name: cells[:-2] for name, cells in columns(10).items()}
    with pytest.raises(ValueError, match=r"a.csv and b.csv: .* 2 only in the first \(k008, k009\), 0 only"):
        align([_model(columns(10), "a.csv"), _model(fewer, "b.csv")])


@pytest.mark.parametrize("column", ["label_kl", "label_oa", "subject"])
def test_labels_and_subjects_must_agree(column: str) -> None:
    table = columns(10)
    other = "someone" if column == "subject" else int(table[column][3] == 0)
    changed = _changed(column, 3, other)
    with pytest.raises(ValueError, match=f"column {column}, knee k003: expected one value"):
        align([_model(table, "a.csv"), _model(changed, "b.csv")])


def test_what_one_file_lacks_is_taken_from_the_other() -> None:
    oa = {name: columns(10)[name] for name in ("knee", "label_oa", "prob_oa")}
    cohort = align([_model(oa, "a"), _model(columns(10, per_subject=2), "b")])
    assert cohort.subject_given
    assert len(set(cohort.subject.tolist())) == 5
    assert cohort.labels["kl"].tolist() == columns(10)["label_kl"]


def test_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one prediction table"):
        align([])
