from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oahier.audit.subject_splits import subject_problems
from oahier.data.manifest.subject_ids import plain_id, similar_subjects


@given(
    st.integers(0, 10**7), st.integers(0, 4), st.sampled_from(["", " ", "  "]), st.sampled_from(["", ".0"])
)
def test_what_a_spreadsheet_does_to_a_number(number: int, zeros: int, space: str, decimals: str) -> None:
    assert plain_id(f"{space}{'0' * zeros}{number}{decimals}") == str(number)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_different_numbers_stay_different(first: int, second: int) -> None:
    assert (plain_id(f"OAI-{first:07d}") == plain_id(f"oai-{second}")) == (first == second)


def table(subjects: list[str], splits: list[str] | None = None) -> pd.DataFrame:
    knees = [f"k{number}" for number in range(len(subjects))]
    return pd.DataFrame(
        {"knee": knees, "subject": subjects, "split": splits or "", "side": "", "visit": ""}, dtype=str
    )


def test_similar_ids_are_an_error_only_across_splits() -> None:
    (one,) = similar_subjects(table(["0071", "71", "72"], ["train", "train", "test"]))
    assert one.severity == "warning"
    (two,) = similar_subjects(table(["0071", "71", "72"], ["train", "test", "test"]))
    assert two.severity == "error"
    assert similar_subjects(table(["0071", "0071", "72"], ["train", "test", "test"])) == []


@pytest.mark.parametrize("ids", [["9.00E+06", "9000001"], ["9000001.0", "9000002.0"]])
def test_numbers_of_a_spreadsheet(ids: list[str]) -> None:
    assert any("look like numbers of a spreadsheet" in str(p) for p in subject_problems(table(ids), []))


def test_more_than_two_knees_without_sides() -> None:
    (problem,) = subject_problems(table(["a", "a", "a", "b", "b"]), [])
    assert "subject 'a' has 3 knees without visits; fill in side and visit" in str(problem)
