"""Random-effects mean over encoders: Hartung and Knapp's interval, shared knees, few encoders."""

import math

import numpy as np
import pytest

from oahier.statistics.claims import claim
from oahier.statistics.random_effects import random_effects


@pytest.mark.parametrize("effects", [(0.10, 0.02, 0.06), (0.20, -0.02, 0.06, 0.15), (0.3, -0.3)])
def test_independent_effects_are_as_in_statsmodels(effects):
    """Its Hartung-Knapp error, never below its normal one; t with one less degree of freedom than effects."""
    from statsmodels.stats.meta_analysis import combine_effects

    variances = np.array([0.02, 0.03, 0.02, 0.05])[: len(effects)] ** 2
    known = combine_effects(np.array(effects), variances, method_re="dl", use_t=True)
    assert known.tau2 > 0
    found = random_effects(np.array(effects), np.diag(variances))
    assert found.between == pytest.approx(known.tau2)
    assert found.mean == pytest.approx(known.mean_effect_re)
    assert found.spread.error == pytest.approx(max(known.sd_eff_w_re_hksj, known.sd_eff_w_re))
    assert found.spread.df == len(effects) - 1
    if known.sd_eff_w_re_hksj > known.sd_eff_w_re:
        made = claim(found.mean, found.spread)
        assert (made.low, made.high) == pytest.approx(known.conf_int()[3])


def test_effects_that_agree_make_no_interval_shorter_than_the_normal_one():
    found = random_effects(np.full(3, 0.05), np.eye(3) * 0.03**2)
    assert found.between == 0
    assert found.spread.error == pytest.approx(0.03 / math.sqrt(3))


def test_shared_knees_are_counted_and_cover():
    """Coverage with three encoders of one population whose errors correlate by 0.6; the normal one's too."""
    generator = np.random.default_rng(0)
    covariance = 0.03**2 * (0.4 * np.eye(3) + 0.6)
    held = {"t": 0, "normal": 0}
    for effects in generator.multivariate_normal(np.zeros(3), covariance + 0.03**2 * np.eye(3), size=1000):
        found = random_effects(effects, covariance)
        weight = np.full(3, 1 / 3)
        normal = math.sqrt(weight @ (covariance + found.between * np.eye(3)) @ weight)
        held["t"] += abs(found.mean) <= 4.302653 * found.spread.error
        held["normal"] += abs(found.mean) <= 1.959964 * normal
    assert held["t"] / 1000 >= 0.94
    assert held["normal"] / 1000 < 0.93


@pytest.mark.parametrize(("effects", "variance"), [([0.1], 0.01), ([0.1, math.nan], 0.01), ([0.1, 0.2], 0.0)])
def test_what_has_no_spread_is_undefined(effects, variance):
    found = random_effects(np.array(effects), np.eye(len(effects)) * variance)
    assert math.isnan(found.mean)
    assert math.isnan(found.spread.error)
