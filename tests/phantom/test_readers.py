import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from oahier.phantom.readers import BLOCK_NOISE, crosses_oa, read_grade, reader_matrix


def test_readings_follow_the_matrix():
    matrix = reader_matrix("block")
    generator = np.random.default_rng(0)
    counts = np.array(
        [
            np.bincount([read_grade(k, matrix, generator) for _ in range(4000)], minlength=5) / 4000
            for k in range(5)
        ]
    )
    assert np.abs(counts - matrix).max() < 0.025
    assert counts[matrix == 0].max() == 0


def test_block_noise_agrees_as_readers_do():
    matrix = np.array(BLOCK_NOISE)
    assert np.allclose(matrix.sum(axis=1), 1)
    assert not crosses_oa(matrix)
    assert 0.7 < matrix.diagonal().mean() < 0.82
    counts = (matrix * 1000).round().astype(int)
    true, observed = np.indices((5, 5))
    kappa = cohen_kappa_score(
        np.repeat(true.ravel(), counts.ravel()),
        np.repeat(observed.ravel(), counts.ravel()),
        weights="quadratic",
    )
    assert 0.85 < kappa < 0.95


def test_a_number_is_drawn_even_where_the_reader_is_sure():
    sure, unsure = np.random.default_rng(0), np.random.default_rng(0)
    read_grade(0, reader_matrix("none"), sure)
    read_grade(0, reader_matrix("block"), unsure)
    assert sure.random() == unsure.random()


def test_crossing_the_threshold_is_noticed():
    assert crosses_oa(np.full((5, 5), 0.2))


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], r"expected a 5 x 5 matrix, got shape \(2, 2\)"),
        ((np.eye(5) * 0.9).tolist(), "rows of probabilities .* sum to 1, got row sums"),
        ((np.eye(5) * 2 - 0.2).tolist(), "smallest entry of -0.2"),
    ],
)
def test_bad_matrices(noise, message):
    with pytest.raises(ValueError, match=message):
        reader_matrix(noise)
