"""The six ResNet3D rows of the paper's paired statistics, from its public prediction files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from oahier.metrics import Rows
from oahier.statistics import Bootstrap, Comparison, compare_predictions, read_predictions
from oahier.statistics.published import published_generator, trapezoid_auc

NAMES = {"AUC": "auc", "Acc": "accuracy", "F1": "f1", "M-AUC": "macro_auc", "M-F1": "macro_f1"}


def _published(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (folder / "paired-statistics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["backbone"] == "resnet3d"]
    return {(row["task"], NAMES[row["metric"]]): row for row in rows}


def _found(folder: Path, published: bool) -> dict[tuple[str, str], Comparison]:
    single_oa, single_kl, dual = (
        read_predictions(folder / f"resnet3d-{name}-predictions.csv")
        for name in ("single-oa", "single-kl", "dual")
    )
    metrics, bootstrap = list(NAMES.values()), Bootstrap(published=published)
    rows = compare_predictions([single_oa], [dual], metrics=metrics, bootstrap=bootstrap)
    rows += [
        row
        for row in compare_predictions([single_kl], [dual], metrics=metrics, bootstrap=bootstrap)
        if row.task == "KL"
    ]
    return {(row.task, row.metric): row for row in rows}


@pytest.mark.parametrize("in_order", [True, False])
def test_published_rows(shared_paper: Path, in_order: bool) -> None:
    published, found = _published(shared_paper), _found(shared_paper, in_order)
    assert len(published) == 6
    assert set(published) == set(found)
    exact = 1e-6 if in_order else None
    for key, row in found.items():
        expected = published[key]
        assert row.a == pytest.approx(float(expected["single"]), abs=1e-6)
        assert row.b == pytest.approx(float(expected["dual"]), abs=1e-6)
        assert row.difference == pytest.approx(float(expected["delta"]), abs=1e-6)
        assert row.test == expected["test"]
        assert row.ci_low == pytest.approx(float(expected["ci_lo"]), abs=exact or 4e-3)
        assert row.ci_high == pytest.approx(float(expected["ci_hi"]), abs=exact or 4e-3)
        p = float(expected["p_value"])
        if row.test == "mcnemar_exact":
            assert row.p_value == p
        else:
            assert row.p_value == pytest.approx(p, abs=exact or 4 * np.sqrt(max(p, 1e-3) / 10_000))
        assert row.n == int(expected["n_subjects"])
        assert row.undefined == 0


def test_only_ties_tell_exact_counting_from_the_published_rounding(shared_paper: Path) -> None:
    """Both evaluate the same resamples: intervals agree, and p by the share of equal areas only."""
    single, dual = (
        read_predictions(shared_paper / f"resnet3d-{name}-predictions.csv") for name in ("single-oa", "dual")
    )
    rounded, exact = (
        compare_predictions([single], [dual], metrics=["auc"], bootstrap=Bootstrap(published=name))[0]
        for name in (True, False)
    )
    assert (rounded.ci_low, rounded.ci_high) == pytest.approx((exact.ci_low, exact.ci_high), abs=1e-12)
    assert rounded.p_value != exact.p_value
    assert rounded.p_value == pytest.approx(exact.p_value, abs=0.01)


def test_rounded_area_is_scikit_learns_to_the_last_bit() -> None:
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    scores, labels = np.round(generator.random(50), 2), generator.random(50) < 0.6
    weights = generator.integers(0, 3, (40, 50)).astype(np.float64)
    found = trapezoid_auc(weights, Rows.of(scores, labels))
    for value, weight in zip(found, weights, strict=True):
        rows = np.repeat(np.arange(50), weight.astype(int))
        assert value == roc_auc_score(labels[rows], scores[rows])
    one_class = trapezoid_auc(weights[:2] * labels, Rows.of(scores, labels))
    assert np.isnan(one_class).all()


def test_rounded_area_of_three_points_and_of_one() -> None:
    from sklearn.metrics import roc_auc_score

    labels = np.array([True, False] * 3)
    for scores, weights in (
        ([0.9, 0.9, 0.5, 0.5, 0.1, 0.1], [1, 1, 2, 3, 2, 3]),  # the middle point is on a line: it is dropped
        ([0.3] * 6, [1] * 6),
    ):
        rows = np.repeat(np.arange(6), weights)
        found = trapezoid_auc(np.array([weights], dtype=float), Rows.of(scores, labels))
        assert found[0] == roc_auc_score(labels[rows], np.array(scores)[rows])


def test_each_metric_has_its_own_block_of_the_stream() -> None:
    subjects = np.array([f"{row:02d}" for row in range(20)])
    whole = np.random.default_rng(3).integers(0, 20, (10 * 100, 20))
    for block, (head, metric) in enumerate(
        [
            ("oa", "auc"),
            ("oa", "accuracy"),
            ("oa", "f1"),
            ("kl", "macro_auc"),
            ("kl", "accuracy"),
            ("kl", "macro_f1"),
        ]
    ):
        generator = published_generator(head, metric, subjects, resamples=100, seed=3)
        np.testing.assert_array_equal(
            generator.integers(0, 20, (100, 20)), whole[block * 100 : block * 100 + 100]
        )
    second = published_generator("oa", "f1", subjects, resamples=100, seed=3, before=1)
    np.testing.assert_array_equal(second.integers(0, 20, (100, 20)), whole[800:900])
