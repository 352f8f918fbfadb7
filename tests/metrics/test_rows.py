"""Labels and probabilities are checked once; what is not finite makes every metric undefined."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from oahier.metrics import Rows, binary_metrics, decisions, evaluate, ordinal_metrics, registered

GRADES = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.6, 0.2]]


def _p(first: list[float]) -> list[list[float]]:
    return [first, *GRADES[1:]]


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (
            GRADES,
            [0, 2.5, 1],
            r"labels: expected whole numbers 0 to 2 \(-1 where unknown\), got 2.5 in row 1",
        ),
        (GRADES, [0, math.nan, 1], r"labels: expected whole numbers .*, got nan in row 1"),
        (GRADES, [0, math.inf, 1], r"labels: expected whole numbers .*, got inf in row 1"),
        (GRADES, torch.tensor([0.0, 1.0, 1.5]), r"labels: expected whole numbers .*, got 1.5 in row 2"),
        (GRADES, [0, 3, -2], r"labels: expected classes 0 to 2, got \[-2, 3\]"),
        (GRADES, [0, 1], r"labels: expected shape \(3,\), one a row, got \(2,\)"),
        (GRADES, [[0, 1, 2]], r"labels: expected shape \(3,\)"),
        (_p([-0.1, 0.6, 0.5]), [0, 1, 2], r"sum to 1, got \[-0.1, 0.6, 0.5\] in labelled row 0; 1 rows are"),
        (_p([1.1, 0.0, -0.1]), [0, 1, 2], r"probabilities: expected values from 0 to 1"),
        (_p([1.0, 1.0, 1.0]), [0, 1, 2], r"got \[1.0, 1.0, 1.0\] in labelled row 0"),
        (_p([0.3, 0.3, 0.37]), [0, 1, 2], r"got \[0.3, 0.3, 0.37\] in labelled row 0"),
        ([2.5, 0.1], [1, 0], r"probabilities: expected values from 0 to 1"),
        ([[1.0], [1.0]], [0, 0], r"probabilities: expected shape \(rows, grades\) with at least two"),
        (np.full((2, 2, 2), 0.5), [0, 0], r"probabilities: expected shape \(rows, grades\)"),
    ],
)
def test_what_is_no_label_or_probability_is_refused(probabilities: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rows.of(probabilities, labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"severity": [0.1]}, r"severity: expected shape \(3,\), one a row, got \(1,\)"),
        ({"subject": ["a", "b"]}, r"subject: expected shape \(3,\), one a row, got \(2,\)"),
        ({"predicted": [0, 1, 3]}, r"predicted: expected classes 0 to 2, got \[3\]"),
        ({"predicted": [0, 0.5, 1]}, r"predicted: expected whole numbers .* got 0.5 in row 1"),
    ],
)
def test_other_columns_are_checked_too(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rows.of(GRADES, [0, 1, 2], **arguments)


def test_rows_without_a_label_are_left_out_of_every_column() -> None:
    rows = Rows.of(GRADES, [2, -1, 1], severity=[5, 6, 7], predicted=[1, 2, 0], subject=["a", "b", "c"])
    assert len(rows) == 2
    assert rows.labels.tolist() == [2, 1]
    assert rows.severity.tolist() == [5, 7]
    assert rows.predicted.tolist() == [1, 0]
    assert rows.subject.tolist() == ["a", "c"]
    assert rows.probabilities.tolist() == [GRADES[0], GRADES[2]]
    assert rows.distance.tolist() == [1, 1]
    assert rows.correct.tolist() == [False, False]
    assert Rows.of(_p([9.0, 9.0, 9.0]), [-1, 1, 2]).defined


def test_every_row_is_a_subject_of_its_own_unless_told() -> None:
    assert len(set(Rows.of(GRADES, [0, 1, 2]).subject.tolist())) == 3


def test_whole_labels_of_any_type_are_classes() -> None:
    for labels in ([0.0, 2.0, -1.0], np.array([0, 2, -1], dtype=np.int8), torch.tensor([0, 2, -1])):
        assert Rows.of(GRADES, labels).labels.tolist() == [0, 2]
    assert Rows.of([0.2, 0.7], np.array([False, True])).labels.tolist() == [0, 1]


def test_half_precision_is_taken_as_it_is_rounded() -> None:
    p = torch.softmax(torch.randn(50, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    for dtype in (torch.bfloat16, torch.float16):
        rows = Rows.of(p.to(dtype).requires_grad_(), torch.arange(50) % 5)
        assert rows.probabilities.dtype == np.float64
        np.testing.assert_allclose(rows.probabilities, p, atol=4e-3)


@pytest.mark.parametrize("tolerated", [[0.5, 0.3, 0.215], [0.5, 0.3, 0.185]])
def test_sums_within_the_rounding_of_half_precision_pass(tolerated: list[float]) -> None:
    assert Rows.of([tolerated], [0]).defined


@pytest.mark.parametrize(
    ("probability", "decision"), [(0.5, 1), (np.nextafter(0.5, 0), 0), (0.0, 0), (1.0, 1)]
)
def test_half_is_positive(probability: float, decision: int) -> None:
    assert Rows.of([probability], [1]).predicted.tolist() == [decision]
    assert decisions(np.array([[1 - probability, probability]])).tolist() == [decision]
    assert binary_metrics([probability], [1])["accuracy"] == decision


def test_equal_probabilities_of_grades_give_the_lower_one() -> None:
    assert decisions(np.array([[0.2, 0.4, 0.4], [1 / 3, 1 / 3, 1 / 3]])).tolist() == [1, 0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_decision_and_no_metric(bad: float) -> None:
    rows = Rows.of(_p([bad, 0.5, 0.5]), [0, 1, 2])
    assert rows.predicted.tolist() == [-1, 2, 1]
    assert not rows.defined
    values = evaluate(rows)
    assert values
    assert all(math.isnan(value) for value in values.values())
    assert decisions(np.array([[0.5, bad]])).tolist() == [-1]


def test_a_severity_that_is_not_finite_leaves_nothing_defined() -> None:
    assert all(
        math.isnan(value) for value in ordinal_metrics(GRADES, [0, 1, 2], severity=[0, math.nan, 1]).values()
    )


def test_resamples_of_undefined_rows_are_undefined() -> None:
    rows = Rows.of([math.nan, 0.2], [1, 0])
    for metric in registered("binary"):
        assert np.isnan(metric(np.ones((3, 2)), rows)).tolist() == [True] * 3


def test_kinds_of_heads_need_their_shape() -> None:
    with pytest.raises(ValueError, match=r"three grades or more, got \(3, 2\); binary_metrics is for two"):
        ordinal_metrics([[0.5, 0.5]] * 3, [0, 1, 0])
    with pytest.raises(ValueError, match=r"probability: expected shape \(rows,\), got \(3, 3\)"):
        binary_metrics(GRADES, [0, 1, 0])
