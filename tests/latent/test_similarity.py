"""Debiased linear CKA against closed forms and a sum over quadruples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from oahier.latent.similarity import _hsic, inner_products, linear_cka


def test_the_estimate_is_the_mean_over_distinct_quadruples():
    """Song et al. 2012, equation 4: the U-statistic of HSIC, term by term."""
    rng = np.random.default_rng(0)
    k, l = (inner_products(rng.normal(size=(7, width))) for width in (3, 5))  # noqa: E741
    terms = [
        k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in itertools.permutations(range(7), 4)
    ]
    assert _hsic(k, l) == pytest.approx(np.mean(terms))


def test_in_expectation_it_is_the_cka_of_the_covariances():
    """||Sxy||^2 / (||Sxx|| ||Syy||) of a Gaussian whose covariances are known."""
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(6, 9))
    sxx, sxy = np.eye(6), mix
    syy = mix.T @ mix + 4 * np.eye(9)
    expected = np.linalg.norm(sxy) ** 2 / (np.linalg.norm(sxx) * np.linalg.norm(syy))
    found = []
    for _ in range(200):
        x = rng.normal(size=(40, 6))
        found.append(linear_cka(x, x @ mix + 2 * rng.normal(size=(40, 9))))
    assert np.mean(found) == pytest.approx(expected, abs=0.02)


def test_unrelated_embeddings_have_zero_in_any_width():
    rng = np.random.default_rng(2)
    for width in (8, 512):
        found = [linear_cka(*rng.normal(size=(2, 40, width))) for _ in range(30)]
        assert np.mean(found) == pytest.approx(0, abs=0.05)
    x, y = (one - one.mean(axis=0) for one in rng.normal(size=(2, 40, 512)))
    biased = np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert biased > 0.9  # what the usual estimate says of noise


def test_rotation_shift_and_scale_do_not_matter():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 3))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert linear_cka(x, x @ rotation * 4 + 9) == pytest.approx(1)
    assert linear_cka(x @ rotation * 4 + 9, y) == pytest.approx(linear_cka(x, y))
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x))


def test_too_few_knees_and_constant_embeddings_are_undefined():
    assert math.isnan(linear_cka(np.eye(3), np.eye(3)))
    assert math.isnan(linear_cka(np.ones((9, 2)), np.random.default_rng(0).normal(size=(9, 2))))
    with pytest.raises(ValueError, match="the same knees, got 9 and 8"):
        linear_cka(np.ones((9, 2)), np.ones((8, 2)))
