"""Order inside grades against scipy, and grades told apart against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from oahier.latent import discernible_grades, order_within_grades
from oahier.types import MISSING


def knees(count=200, seed=0):
    """Coordinates that follow a true severity inside every grade, and a column that does not."""
    rng = np.random.default_rng(seed)
    severity = rng.random(count)
    grades = np.minimum((severity * 5).astype(np.int64), 4)
    place = severity + rng.normal(0, 0.05, count)
    return place, grades, severity, [f"s{row // 2}" for row in range(count)]


def test_every_group_is_spearman_of_its_knees():
    place, grades, severity, subjects = knees()
    grades[:7] = MISSING
    severity[7:11] = np.nan
    rows = {row.group: row for row in order_within_grades(place, grades, {"severity": severity}, subjects)}
    known = (grades != MISSING) & np.isfinite(severity)
    groups = {f"kl_{grade}": grades == grade for grade in range(5)}
    groups |= {"oa_0": np.isin(grades, [0, 1]), "oa_1": np.isin(grades, [2, 3, 4])}
    inside = []
    for name, group in groups.items():
        chosen = known & group
        expected = spearmanr(place[chosen], severity[chosen]).statistic
        assert rows[name].spearman == pytest.approx(expected)
        assert rows[name].ci_low < expected < rows[name].ci_high <= 1
        assert (rows[name].knees, rows[name].note) == (chosen.sum(), "")
        inside += [(expected, chosen.sum())] * name.startswith("kl")
    assert rows["kl"].spearman == pytest.approx(sum(r * n for r, n in inside) / sum(n for _, n in inside))
    assert rows["kl"].ci_high - rows["kl"].ci_low < rows["kl_0"].ci_high - rows["kl_0"].ci_low
    assert list(rows) == [*groups, "kl"]


def test_the_grade_alone_gives_no_order_inside_grades():
    _, grades, severity, subjects = knees(1000)
    place = grades + np.random.default_rng(5).normal(0, 0.1, 1000)
    rows = {row.group: row for row in order_within_grades(place, grades, {"severity": severity}, subjects)}
    assert abs(rows["kl"].spearman) < 0.1
    assert rows["kl"].ci_low < 0 < rows["kl"].ci_high
    assert rows["oa_1"].spearman > 0.8  # there are three grades in it


def test_too_few_and_constant_groups_are_undefined_and_say_why():
    place, grades, severity, _ = knees(40)
    rows = order_within_grades(place, grades, {"severity": severity}, [f"s{row // 8}" for row in range(40)])
    assert all(math.isnan(row.spearman) and math.isnan(row.ci_low) for row in rows)
    assert rows[0].note == f"{rows[0].subjects} subjects, 10 are needed"
    place, grades, severity, subjects = knees(400)
    flat = {
        row.group: row.note for row in order_within_grades(place, grades, {"flat": severity * 0}, subjects)
    }
    assert flat["kl_0"] == "the covariate does not vary"
    assert flat["kl"] == "no grade with 10 subjects"


def test_grades_told_apart_are_the_range_over_the_smallest_real_difference():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 100, 3000)
    scans = np.concatenate([truth + rng.normal(0, 2, 3000) for _ in range(2)])
    names = [f"k{row}" for row in range(3000)] * 2
    found = discernible_grades(scans, names, names, resamples=50)
    assert found.error == pytest.approx(2, rel=0.05)
    assert found.range == pytest.approx(95, rel=0.02)
    assert found.grades == pytest.approx(95 / (1.96 * math.sqrt(2) * 2), rel=0.05)
    assert found.ci_low < found.grades < found.ci_high
    assert (found.scans, found.subjects) == (6000, 3000)
    scaled = discernible_grades(-7 * scans + 3, names, names, resamples=50)
    assert scaled.grades == pytest.approx(found.grades, rel=0.01)  # whatever the units of the axis


def test_the_error_of_pairs_is_half_the_mean_square_of_their_differences():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 25))
    names = [f"k{row}" for row in range(25)]
    found = discernible_grades(np.concatenate([first, second]), names * 2, names * 2)
    assert found.error == pytest.approx(math.sqrt(((first - second) ** 2).mean() / 2))
    three = np.concatenate([first, second, rng.normal(size=25)]).reshape(3, 25)
    found = discernible_grades(three.ravel(), names * 3, names * 3)
    assert found.error == pytest.approx(math.sqrt(three.var(axis=0, ddof=1).mean()))


def test_scans_without_a_repeat_count_in_the_range_only():
    rng = np.random.default_rng(2)
    first, second, single = rng.normal(size=20), rng.normal(size=20), np.linspace(-50, 50, 200)
    names = [f"k{row}" for row in range(20)]
    subjects = [*names, *names, *(f"s{row}" for row in range(200))]
    found = discernible_grades(
        np.concatenate([first, second, single]), [*names, *names, *[""] * 200], subjects
    )
    assert found.error == pytest.approx(math.sqrt(((first - second) ** 2).mean() / 2))
    assert found.range > 80
    assert (found.scans, found.subjects) == (40, 20)


@pytest.mark.parametrize(
    ("scans", "names", "note"),
    [([0.0, 1.0] * 9, list("aabbccddeeffgghhii"), "9 subjects with repeated scans, 10 are needed"),
     (list(np.repeat(np.arange(12.0), 2)), list("aabbccddeeffgghhiijjkkll"), "repeated scans are equal")],
)  # fmt: skip
def test_unknown_repeatability_says_why(scans, names, note):
    found = discernible_grades(np.array(scans), names, names)
    assert math.isnan(found.grades)
    assert found.note == note
