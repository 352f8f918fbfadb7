"""Pictures show the numbers they are given and touch nothing of a user's matplotlib."""

from __future__ import annotations

import matplotlib
import numpy as np
import torch
from statsmodels.stats.proportion import proportion_confint

from oahier.callbacks.figures import confusion_picture, curves_picture, reliability_picture
from oahier.metrics import Rows, reliability


def test_confusion_matrix_shows_counts_shares_and_totals():
    figure = confusion_picture(
        np.array([[3, 1, 0], [0, 0, 0], [0, 2, 5]]), ["a", "b", "c"], "KL grade, test split", 2
    )
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["3\n75 %", "1\n25 %", "0", "0", "0", "0", "0", "2\n29 %", "5\n71 %"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a  (n=4)", "b  (n=0)", "c  (n=7)"]
    assert axes.get_title() == "KL grade, test split, 11 knees"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    np.testing.assert_allclose(axes.images[0].get_array()[0], [0.75, 0.25, 0])
    assert [line.get_ydata()[0] for line in axes.lines[:1]] == [1.5]


def test_reliability_shows_the_bins_with_wilson_intervals():
    rows = Rows.of(torch.tensor([0.05, 0.08, 0.55, 0.52, 0.58, 1.0]), torch.tensor([0, 1, 1, 1, 0, 1]))
    figure = reliability_picture(reliability(rows), "OA, test split", ("P(OA)", "share with OA"), "x")
    axes, below = figure.axes
    (container,) = axes.containers
    x, y = container.lines[0].get_data()
    np.testing.assert_allclose(x, [0.065, 0.55, 1.0], rtol=1e-6)
    np.testing.assert_allclose(y, [0.5, 2 / 3, 1.0])
    drawn = np.array([[bottom[1], top[1]] for bottom, top in container.lines[2][0].get_segments()])
    expected = [proportion_confint(k, n, method="wilson") for k, n in ((1, 2), (2, 3), (1, 1))]
    np.testing.assert_allclose(drawn, expected, rtol=1e-6)
    assert [bar.get_height() for bar in below.patches] == [2, 0, 0, 0, 0, 3, 0, 0, 0, 1]
    assert axes.get_title() == "OA, test split, 6 knees\nx"


def test_pyplot_and_settings_are_left_alone():
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams), plt.get_fignums()
    confusion_picture(np.eye(2, dtype=int), ["no OA", "OA"], "OA")
    curves_picture({"loss": {"train loss": [(1.0, 2.0)]}})
    assert (dict(matplotlib.rcParams), plt.get_fignums()) == before


def test_curves_of_nothing():
    assert curves_picture({}).axes
