"""Power of the variance model against simulated studies, and against the published design."""

import math

import numpy as np
import pytest
from scipy.stats import t
from statsmodels.stats.power import TTestIndPower

from oahier.metrics import Rows, find_metrics
from oahier.statistics import Variances, pilot_variances, stated_variances
from oahier.statistics.power import detectable, power_of


def simulated_power(parts, paired, knees, seeds, difference, repeats, seed=0):
    """Share of studies whose Obuchowski-Rockette test rejects, each analysed with its own estimates.

    A knee's value of a model is the sum of effects of the knee, of arm and knee, of seed and knee (paired)
    and of the model and knee, and of the model's seed; the metric is the mean over knees.
    """
    generator = np.random.default_rng(seed)
    knee, arm, shared, own, run = (math.sqrt(part) for part in parts)
    rejected = 0
    for _ in range(repeats):
        values = np.empty((2, seeds, knees))
        values[:] = knee * generator.normal(size=knees)
        values += arm * generator.normal(size=(2, 1, knees))
        values += shared * generator.normal(size=(1, seeds, knees)) if paired else 0
        values += own * generator.normal(size=(2, seeds, knees)) + run * generator.normal(size=(2, seeds, 1))
        values[1] += difference
        flat = values.reshape(2 * seeds, knees)
        covariance = np.cov(flat) / knees
        means = flat.mean(axis=1).reshape(2, seeds)
        off = ~np.eye(seeds, dtype=bool)
        blocks = covariance.reshape(2, seeds, 2, seeds)
        same = (blocks[0, :, 0][off].mean() + blocks[1, :, 1][off].mean()) / 2
        other = blocks[0, :, 1][off].mean() if paired else blocks[0, :, 1].mean()
        if paired:
            square, freedom = np.var(means[1] - means[0], ddof=1) / 2, seeds - 1
        else:
            square, freedom = np.var(means, axis=1, ddof=1).mean(), 2 * (seeds - 1)
        total = square + max(seeds * (same - other), 0)
        df = total**2 / (square**2 / freedom)
        statistic = (means[1].mean() - means[0].mean()) / math.sqrt(2 * total / seeds)
        rejected += 2 * t.sf(abs(statistic), df) < 0.05
    return rejected / repeats


def variances(parts, paired):
    knee, arm, shared, own, run = parts
    shared = shared if paired else 0.0
    return Variances(run, knee + arm + shared + own, knee + arm, knee, knee + shared if paired else None)


PARTS = (0.3, 0.2, 0.1, 0.3, 0.02**2)


def agrees(paired, seeds, wanted, repeats, within):
    design = variances(PARTS, paired)
    difference = design.detectable(200, seeds, power=wanted)
    assert design.power(difference, 200, seeds) == pytest.approx(wanted)
    found = simulated_power(PARTS, paired, 200, seeds, difference, repeats)
    assert found == pytest.approx(wanted, abs=within)


@pytest.mark.parametrize("paired", [False, True])
def test_simulated_power(paired):
    agrees(paired, 5, 0.8, 400, 0.06)


@pytest.mark.slow
@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.9])
def test_simulated_power_closely(paired, seeds, wanted):
    """Three paired seeds have few degrees of freedom, estimated anew in every study: less power."""
    agrees(paired, seeds, wanted, 4000, 0.05 if paired and seeds == 3 else 0.03)


def test_without_knees_it_is_the_t_test():
    """Where knees add nothing, seeds are two samples of a t test (statsmodels)."""
    design = Variances(0.02**2, 0.0, 0.0, 0.0)
    for seeds in (3, 8):
        oracle = TTestIndPower().power(0.03 / 0.02, seeds, 0.05)
        assert design.power(0.03, 100, seeds) == pytest.approx(oracle, abs=1e-6)


def test_knees_are_the_fewest():
    design = stated_variances(0.05, 98, seed_sd=0.01)
    for seeds in (1, 3, 10):
        knees = design.knees(0.06, seeds)
        assert design.power(0.06, knees, seeds) >= 0.8 > design.power(0.06, knees - 1, seeds)
        assert design.detectable(knees, seeds) <= 0.06
    assert design.knees(0.001, 3) == math.inf, "more knees do not help against the spread of seeds"
    unknown = stated_variances(0.05, 98)
    assert math.isnan(unknown.knees(0.1, 3))
    assert unknown.knees(0.1, 1) > 0
    with pytest.raises(ValueError, match="correlations 0 <= arms <= seeds <= 1"):
        stated_variances(0.05, 98, arm_correlation=0.9)
    with pytest.raises(ValueError, match="standard error above 0"):
        stated_variances(0.0, 98)


def pilot(seeds, knees=150, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(knees) % 5
    shared = generator.normal(0, 0.8, knees)
    arms = []
    for arm in range(2):
        own = generator.normal(0, 0.5, knees)
        arms.append([])
        for _ in range(seeds):
            centre = labels + shared + own + generator.normal(0, 0.4 + 0.2 * arm, knees)
            p = np.exp(-((np.arange(5) - centre[:, None]) ** 2))
            arms[-1].append(Rows.of(p / p.sum(axis=1, keepdims=True), labels))
    return arms


def metric(name):
    return next(found for found in find_metrics(name) if found.kind == "ordinal")


def test_pilot_components_of_accuracy_are_covariances_of_knees():
    """Accuracy is a mean over knees, so that its jackknife is the covariance of the hits."""
    a, b = pilot(3)
    found = pilot_variances(a, b, metric("accuracy"))
    hits = np.cov(np.stack([rows.correct for rows in (*a, *b)]).astype(float))
    off = ~np.eye(3, dtype=bool)
    assert found.error == pytest.approx(np.diag(hits).mean())
    assert found.same_arm == pytest.approx((hits[:3, :3][off].mean() + hits[3:, 3:][off].mean()) / 2)
    assert found.other_arm == pytest.approx(hits[:3, 3:].mean())
    paired = pilot_variances(a, b, metric("accuracy"), paired=True)
    assert paired.same_seed == pytest.approx(np.diag(hits[:3, 3:]).mean())


def test_pilot_edges():
    a, b = pilot(1)
    assert math.isnan(pilot_variances(a, b, metric("qwk")).seed), "one seed says nothing of seeds"
    with pytest.raises(ValueError, match="expected models of both arms"):
        pilot_variances([], b, metric("qwk"))
    one = Rows.of(np.full((3, 5), 0.2), [0, 1, 2], subject=["s", "s", "s"])
    with pytest.raises(ValueError, match="pilot of 6 subjects or more, got 1"):
        pilot_variances([one], [one], metric("qwk"))


def test_degenerate_pilots_are_refused():
    """Values that no subject changes have no variance, from which any number of knees would be enough."""
    labels = np.arange(40) % 5
    blind = Rows.of(np.tile([0.6, 0.1, 0.1, 0.1, 0.1], (40, 1)), labels)
    perfect = Rows.of(np.eye(5)[labels], labels)
    a, b = pilot(2, knees=40)
    with pytest.raises(ValueError, match="QWK of model 1 of the first arm is 0 whichever subject is left"):
        pilot_variances([blind, blind], [blind, blind], metric("qwk"))
    with pytest.raises(ValueError, match="accuracy of model 2 of the second arm is 1 whichever subject"):
        pilot_variances(a, [b[0], perfect], metric("accuracy"))
    with pytest.raises(ValueError, match="the two arms do the same on every knee"):
        pilot_variances(a[:1], a[:1], metric("qwk"))
    assert stated_variances(1e-6, 98).knees(0.5, 1) == 6, "five knees allow no p value below 0.05"


def test_power_is_that_of_the_noncentral_t():
    from scipy.stats import nct

    for df in (1.0, 2.5, 9.0, 97.0):
        edge = t.isf(0.025, df)
        for shift in (0.0, 1.0, 3.0, 5.0):
            expected = nct.sf(edge, df, shift) + nct.cdf(-edge, df, shift)
            assert power_of(shift, 1.0, df) == pytest.approx(expected, abs=1e-6)
        assert power_of(detectable(0.3, df), 0.3, df) == pytest.approx(0.8)
    assert math.isnan(detectable(math.nan, 5.0))


def test_published_design(shared_paper):
    """One run a side, 98 knees: QWK differences of about 0.23 are seen; 0.05 needs two thousand knees."""
    from oahier.statistics import read_predictions
    from oahier.statistics.paired_predictions import align

    tables = [
        read_predictions(shared_paper / f"resnet3d-{name}-predictions.csv") for name in ("single-kl", "dual")
    ]
    cohort = align(tables)
    arms = [[cohort.rows(table, "kl")] for table in tables]
    found = pilot_variances(*arms, metric("qwk"))
    assert found.detectable(98, 1) == pytest.approx(0.2347, abs=5e-4)
    assert found.knees(0.05, 1) == pytest.approx(2118, abs=3)
