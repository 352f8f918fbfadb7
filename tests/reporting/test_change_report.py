"""The change command: page, tables, errors; numbers of its parts against other ways to compute them."""

import csv
import shlex
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.duration.hazard_regression import PHReg

from oahier.cli import main
from oahier.cli.change import change_parser
from oahier.visits import (
    Visits,
    change_auc,
    event_months,
    event_within,
    progression_auc,
    response_mean,
    response_means,
    slopes,
    within_grade,
)

NAMES = ("axis", "KL")


def cohort(subjects=80, seed=0, noise=0.25):
    """Both knees at four visits; a rate a subject; the score follows the truth, the grade is its floor."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(subjects):
        rate = generator.exponential(0.3)
        for side in ("left", "right"):
            start = generator.uniform(0, 3.5)
            for month in (0, 24, 48, 72):
                true = start + rate * month / 12
                grade = min(4, int(true))
                rows.append((f"s{number}", side, month, true + generator.normal(0, noise), grade, rate))
    return pd.DataFrame(rows, columns=["subject", "side", "month", "score", "kl", "rate"])


@pytest.fixture(scope="module")
def table():
    return cohort()


@pytest.fixture(scope="module")
def visits(table):
    return Visits.of(table)


def values(table):
    return table["score"].to_numpy(), table["kl"].to_numpy(np.float64)


def test_slopes_are_those_of_the_mixed_model_and_follow_the_rates(table, visits):
    found = slopes(visits, values(table)[0])
    data = table.assign(years=table["month"] / 12, knee=visits.knee)
    other = smf.mixedlm("score ~ years", data, groups="knee", re_formula="~years").fit()
    assert found.mean.value == pytest.approx(other.params["years"], abs=2e-4)
    assert found.spread**2 == pytest.approx(other.cov_re.loc["years", "years"], rel=0.02)
    assert found.residual**2 == pytest.approx(other.scale, rel=0.02)
    predicted = [other.params["years"] + other.random_effects[knee]["years"] for knee in range(160)]
    np.testing.assert_allclose(found.knee, predicted, atol=2e-3)
    assert np.corrcoef(found.knee, table.groupby(visits.knee)["rate"].first())[0, 1] > 0.95
    independent = other.bse["years"] * 2 * 1.96
    assert found.mean.high - found.mean.low > 1.2 * independent, "knees of a subject share their rate"
    assert found.detectable == pytest.approx(1.96 * np.sqrt(2) * 0.25, rel=0.1)
    assert found.mean.low < table["rate"].mean() < found.mean.high
    assert (found.knees, found.subjects, found.note) == (160, 80, "")


def test_slopes_with_gaps_follow_and_too_few_knees_say_so(table, visits):
    table, visits = table[:320], Visits.of(table[:320])
    score = values(table)[0].copy()
    score[::8] = np.nan
    score[1:4] = np.nan
    found = slopes(visits, score)
    assert np.isnan(found.knee[0])
    assert found.knees == 79
    assert np.isfinite(found.mean.low)
    few = slopes(Visits.of(table[:8]), score[:8])
    assert np.isnan(few.mean.value)
    assert few.note == "needs three knees with two visits"
    twice = table[table["month"] < 48]
    two = slopes(Visits.of(twice), twice["score"].to_numpy())
    change = twice.groupby(["subject", "side"])["score"].diff().mean() / 2
    assert two.mean.value == pytest.approx(change)
    assert "no knee has three visits" in two.note
    exact = table.assign(score=table["rate"] * table["month"] / 12 + visits.knee)
    lines = slopes(visits, exact["score"].to_numpy() + np.random.default_rng(0).normal(0, 1e-3, len(exact)))
    np.testing.assert_allclose(lines.knee, table.groupby(visits.knee)["rate"].first(), atol=0.01)


def test_response_means_are_means_over_deviations(table, visits):
    score, grade = values(table)
    found = response_means(visits, score, grade, names=NAMES, span=48)
    wide = table.pivot(index=["subject", "side"], columns="month", values=["score", "kl"])
    changes = {name: wide[name][48] - wide[name][0] for name in ("score", "kl")}
    expected = [change.mean() / change.std() for change in changes.values()]
    assert [one.estimate.value for one in found[:2]] == pytest.approx(expected)
    assert found[2].estimate.value == pytest.approx(expected[0] - expected[1])
    assert [one.of for one in found] == ["axis", "KL", "axis less KL"]
    assert "48 months" in found[0].quantity
    low, high = found[0].estimate.low, found[0].estimate.high
    generator = np.random.default_rng(0)
    names = np.array(sorted(set(table["subject"])))
    by_subject = changes["score"].unstack().loc[names].to_numpy()
    drawn = by_subject[generator.integers(len(names), size=(2000, len(names)))].reshape(2000, -1)
    bootstrap = np.quantile(drawn.mean(axis=1) / drawn.std(axis=1, ddof=1), [0.025, 0.975])
    np.testing.assert_allclose([low, high], bootstrap, atol=0.06)
    weights = np.array([[2.0, 0, 1, 1]])
    copied = np.array([1.0, 1.0, 5.0, 2.0])
    result = response_mean(weights, np.array([1.0, 9.0, 5.0, 2.0]))
    assert result[0] == pytest.approx(copied.mean() / copied.std(ddof=1))
    last = response_means(visits, score, grade, names=NAMES)[0]
    change = wide["score"][72] - wide["score"][0]
    assert last.estimate.value == pytest.approx(change.mean() / change.std())
    still = response_means(visits, score, np.zeros(len(score)), names=NAMES)
    assert all(one.note for one in still)


def test_change_follows_the_grade(table, visits):
    score, grade = values(table)
    found = change_auc(visits, score, grade, name="axis", span=48)
    wide = table.pivot(index=["subject", "side"], columns="month", values=["score", "kl"])
    change, rose = wide["score"][48] - wide["score"][0], wide["kl"][48] > wide["kl"][0]
    expected = stats.mannwhitneyu(change[rose], change[~rose]).statistic / rose.sum() / (~rose).sum()
    assert found.estimate.value == pytest.approx(expected)
    assert 0.5 < found.estimate.low < expected < found.estimate.high
    assert (found.events, found.knees) == (rose.sum(), 160)
    assert change_auc(visits, score, grade * 0, name="axis").note.startswith("needs five subjects")


def test_progression_is_of_knees_at_risk(table, visits):
    score, grade = values(table)
    found = progression_auc(visits, score, grade, names=NAMES, months=48)
    first = table["month"].eq(0).to_numpy() & (grade < 4)
    happened = event_within(visits, grade, 48)[first]
    area = stats.mannwhitneyu(score[first][happened == 1], score[first][happened == 0]).statistic
    expected = area / (happened == 1).sum() / (happened == 0).sum()
    assert found[0].estimate.value == pytest.approx(expected)
    assert found[0].events == (happened == 1).sum()
    assert found[0].knees == first.sum()
    assert found[2].estimate.value == pytest.approx(found[0].estimate.value - found[1].estimate.value)
    assert 0 <= found[2].p_value <= 1


def test_associations_hold_the_grade_fixed(table, visits):
    score, grade = values(table)
    found = within_grade(visits, score, grade, names=NAMES, months=48)
    odds, hazard, *inside = found
    data = table[table["month"] == 0].assign(
        happened=event_within(visits, grade, 48)[::4], signed=event_months(visits, grade)[::4]
    )
    data = data[data["kl"] < 4]
    within = data["score"] - data.groupby("kl")["score"].transform("mean")
    data["z"] = within / np.sqrt((within**2).sum() / (len(data) - data["kl"].nunique()))
    clusters = data["subject"].factorize()[0]
    other = smf.logit("happened ~ z + C(kl)", data).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": clusters}
    )
    assert odds.estimate.value == pytest.approx(np.exp(other.params["z"]), rel=1e-4)
    bounds = np.exp(other.conf_int().loc["z"])
    assert [odds.estimate.low, odds.estimate.high] == pytest.approx(bounds.tolist(), rel=1e-2)
    cox = PHReg(
        data["signed"].abs(), data[["z"]], status=(data["signed"] > 0).astype(int), strata=data["kl"],
        ties="efron",
    ).fit()  # fmt: skip
    assert hazard.estimate.value == pytest.approx(np.exp(cox.params[0]), rel=1e-5)
    assert hazard.estimate.low < hazard.estimate.value < hazard.estimate.high
    assert odds.estimate.low > 1
    assert hazard.estimate.low > 1
    assert [one.quantity.rpartition(" ")[2] for one in inside] == ["0", "1", "2", "3"]
    noise = np.random.default_rng(5).normal(size=len(score))
    none = within_grade(visits, noise, grade, names=NAMES, months=48)[0].estimate
    assert none.low < 1 < none.high
    few = within_grade(Visits.of(table[:16]), score[:16], grade[:16], names=NAMES, months=48)
    assert all("needs five subjects" in one.note for one in few)


@pytest.fixture
def folder(tmp_path, table):
    some = table[:240].copy()
    some["knee"] = [f"k{row:03d}" for row in range(240)]
    for knee in some["knee"]:
        (tmp_path / f"{knee}.nii.gz").touch()
    some["mri"] = some["knee"] + ".nii.gz"
    some.drop(columns=["score", "rate"]).to_csv(tmp_path / "knees.csv", index=False)
    scores = some[["knee", "subject", "score"]].rename(columns={"score": "severity_kl"})
    scores[some["month"] < 48].to_csv(tmp_path / "early.csv", index=False)
    scores[some["month"] >= 48].to_csv(tmp_path / "late.csv", index=False)
    return tmp_path


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_command_writes_page_and_tables(folder, capsys):
    files = [str(folder / name) for name in ("early.csv", "late.csv")]
    out = folder / "out"
    words = ["change", *files, "--manifest", str(folder / "knees.csv"), "--out", str(out), "--span", "48"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"page: {out / 'index.html'}" in said
    why, line = said.partition("next:\n")[2].splitlines()
    assert why.lstrip().startswith("# ")
    again = change_parser().parse_args(shlex.split(line, comments=True)[2:])
    assert (again.scores, again.within, again.out) == (
        [folder / "early.csv", folder / "late.csv"],
        24,
        Path(f"{out}-24"),
    )
    found = rows(out / "change.csv")
    assert found[0]["quantity"] == "mean slope a year"
    assert {row["of"] for row in found} == {"severity_kl", "KL", "severity_kl less KL"}
    assert all(row["value"] or row["note"] for row in found)
    assert len(rows(out / "slopes.csv")) == 60
    page = (out / "index.html").read_text()
    HTMLParser().feed(page)
    assert page.count("<svg") == 5 - (
        4 not in set(pd.read_csv(folder / "knees.csv").query("month == 0")["kl"])
    )
    assert "http" not in page.replace("http://www.w3.org", "")


def test_scores_of_first_visits_are_followed_by_grades_of_later_ones(folder):
    table = pd.read_csv(folder / "knees.csv")
    scores = pd.concat(pd.read_csv(folder / name) for name in ("early.csv", "late.csv")).set_index("knee")
    first = table.query("month == 0")["knee"]
    scores.loc[first[:40]].to_csv(folder / "first.csv")
    out = folder / "out"
    words = ["change", str(folder / "first.csv"), "--manifest", str(folder / "knees.csv"), "--out", str(out)]
    assert main(words) == 0
    found = {(row["quantity"], row["of"]): row for row in rows(out / "change.csv")}
    for name in ("severity_kl", "KL"):
        assert found["mean slope a year", name]["note"] == "needs three knees with two visits"
    area = found["AUC, grade rises within 48 months", "severity_kl"]
    grades = table.pivot(index=["subject", "side"], columns="month", values="kl").loc[
        pd.MultiIndex.from_frame(table[table["knee"].isin(first[:40])][["subject", "side"]])
    ]
    risk = grades[grades[0] < grades.to_numpy().max()]
    assert int(area["knees"]) == len(risk)
    assert int(area["events"]) == (risk[[24, 48]].max(axis=1) > risk[0]).sum()
    assert 0 < float(area["low"]) < float(area["value"])


def test_files_that_cannot_be_used_are_told(folder, capsys):
    def told(*words, manifest="knees.csv"):
        given = ["change", *words, "--manifest", str(folder / manifest), "--out", str(folder / "out")]
        assert main(given) == 2
        return capsys.readouterr().err

    early, late = str(folder / "early.csv"), str(folder / "late.csv")
    assert "expected a column 'axis', got knee, subject, severity_kl" in told(early, "--score", "axis")
    assert "knee 'k000' comes twice" in told(early, early)
    (folder / "text.csv").write_text("knee,severity_kl\nk000,high\n")
    assert "row 2 (knee k000), column severity_kl: expected a number, got 'high'" in told(
        str(folder / "text.csv")
    )
    (folder / "other.csv").write_text("knee,severity_kl\nz1,1\n")
    assert "1 are not there (z1)" in told(str(folder / "other.csv"))
    (folder / "empty.csv").write_text("knee,severity_kl\nk001,\n")
    assert "expected scores of knees, got none" in told(str(folder / "empty.csv"))
    first = pd.read_csv(folder / "knees.csv").query("month == 0")
    first.to_csv(folder / "first.csv", index=False)
    (folder / "one.csv").write_text("knee,severity_kl\nk000,1\n")
    assert "has two visits" in told(str(folder / "one.csv"), manifest="first.csv")
    assert "--span: expected a number above 0, got -1" in told(early, late, "--span", "-1")
    table = pd.read_csv(folder / "knees.csv").drop(columns=["month"])
    table.to_csv(folder / "without.csv", index=False)
    assert "expected a column 'month'" in told(early, late, manifest="without.csv")
    assert not (folder / "out").exists()
