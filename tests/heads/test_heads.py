from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import oahier as oh
from oahier.heads import BinaryHead, Head, SoftmaxHead
from oahier.testing import check_head

logit_rows = st.lists(st.lists(st.floats(-40, 40), min_size=5, max_size=5), min_size=1, max_size=6)


@pytest.mark.parametrize(
    "head",
    [
        BinaryHead(),
        BinaryHead(positive_weight=3.0, reads="kl"),
        SoftmaxHead(),
        SoftmaxHead(2, reads="kl"),
        SoftmaxHead(3, label_smoothing=0.1, target="grade", probe=True),
    ],
    ids=["binary", "binary-weighted", "softmax", "published-oa", "softmax-probe"],
)
def test_contract(head: Head) -> None:
    check_head(head)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(-30, 30), st.integers(0, 1)), min_size=1, max_size=8), st.floats(0.1, 9))
def test_binary_loss_is_weighted_cross_entropy(rows: list[tuple[float, int]], weight: float) -> None:
    z = torch.tensor([row[0] for row in rows], dtype=torch.float64)
    y = torch.tensor([row[1] for row in rows])
    expected = -torch.where(y == 1, weight * F.logsigmoid(z), F.logsigmoid(-z)).mean()
    loss = BinaryHead(positive_weight=weight).loss(z[:, None], y)
    torch.testing.assert_close(loss, expected)


@given(st.floats(-30, 30))
def test_binary_probability_is_the_sigmoid(z: float) -> None:
    probabilities = BinaryHead().probabilities(torch.tensor([[z]], dtype=torch.float64))
    expected = 1 / (1 + math.exp(-z))
    np.testing.assert_allclose(probabilities, [[1 - expected, expected]], rtol=1e-9, atol=1e-15)
    severity = BinaryHead().severity(torch.tensor([[z]], dtype=torch.float64))
    np.testing.assert_allclose(severity, [expected], rtol=1e-9)


@settings(max_examples=40)
@given(logit_rows, st.integers(0, 4), st.sampled_from([0.0, 0.1, 0.5]))
def test_softmax_values(rows: list[list[float]], label: int, smoothing: float) -> None:
    z = torch.tensor(rows, dtype=torch.float64)
    head = SoftmaxHead(5, label_smoothing=smoothing)
    p = head.probabilities(z).numpy()
    shifted = np.exp(z.numpy() - z.numpy().max(axis=1, keepdims=True))
    np.testing.assert_allclose(p, shifted / shifted.sum(axis=1, keepdims=True), rtol=1e-9, atol=1e-30)
    np.testing.assert_allclose(head.severity(z), (p * np.arange(5)).sum(axis=1), rtol=1e-9, atol=1e-12)
    log_p = z.numpy() - np.logaddexp.reduce(z.numpy(), axis=1, keepdims=True)
    expected = -((1 - smoothing) * log_p[:, label] + smoothing * log_p.mean(axis=1)).mean()
    loss = head.loss(z, torch.full((len(rows),), label))
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-9, atol=1e-12)


def test_probabilities_do_not_lose_the_rare_class() -> None:
    """1 - sigmoid(z) is exactly 0 for z = 40 in float32; sigmoid(-z) is not."""
    assert BinaryHead().probabilities(torch.tensor([[40.0]]))[0, 0] > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftmaxHead(1), "SoftmaxHead: num_classes must be at least 2, got 1"),
        (lambda: SoftmaxHead(5, label_smoothing=1.0), r"label_smoothing must lie in \[0, 1\), got 1.0"),
        (lambda: BinaryHead(positive_weight=0.0), "positive_weight must be positive, got 0.0"),
    ],
)
def test_bad_arguments_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_default_projection_is_linear() -> None:
    head = SoftmaxHead(5)
    head.build(7)
    x = torch.randn(3, 7)
    torch.testing.assert_close(head(x), x @ head.projection.weight.T + head.projection.bias)
    assert oh.SoftmaxHead is SoftmaxHead
