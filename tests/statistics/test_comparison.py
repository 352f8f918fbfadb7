from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import columns

from oahier.metrics import registered
from oahier.statistics import (
    Bootstrap,
    Comparison,
    Predictions,
    compare_predictions,
    mcnemar,
    paired_difference,
    paired_statistic,
    parse_predictions,
    summarise_predictions,
)

METRICS = {
    task: [metric.name for metric in registered(kind) if metric.compared]
    for task, kind in (("OA", "binary"), ("KL", "ordinal"))
}


def _model(seed: int = 0, knees: int = 40, **arguments: Any) -> Predictions:
    return parse_predictions(columns(knees, seed, **arguments), f"seed {seed}")


def _row(rows: list[Comparison], task: str, metric: str) -> Comparison:
    return next(row for row in rows if (row.task, row.metric) == (task, metric))


def test_one_row_for_every_measure() -> None:
    rows = compare_predictions([_model(0)], [_model(1)])
    assert [(row.task, row.metric) for row in rows] == [
        (task, name) for task, names in METRICS.items() for name in names
    ]
    for row in rows:
        assert row.difference == pytest.approx(row.b - row.a, abs=1e-12)
        assert row.n == row.subjects == 40
        assert (row.seeds, row.scope) == (1, "one run")
        assert 0 < row.p_value <= 1


def test_one_model_with_itself() -> None:
    for row in compare_predictions([_model()], [_model()]):
        assert row.difference == 0
        assert row.p_value == 1
        assert row.ci_low == -row.ci_high
        assert row.ci_high == (0 if "accuracy" not in row.metric else pytest.approx(1 - 0.025 ** (1 / 40)))
        assert (row.p_not_better, row.verdict) == (0.5, "undecided")
        assert np.isnan(row.effect_size)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 50), st.sampled_from(["jackknife", "delong"]))
def test_swapping_the_models_turns_the_sign(seed: int, auc_test: Any) -> None:
    a, b = _model(seed), _model(seed + 1)
    forth = compare_predictions([a], [b], auc_test=auc_test)
    back = compare_predictions([b], [a], auc_test=auc_test)
    for one, other in zip(forth, back, strict=True):
        assert one.difference == pytest.approx(-other.difference, abs=1e-12)
        assert one.p_value == pytest.approx(other.p_value, abs=1e-12)
        assert one.ci_low == pytest.approx(-other.ci_high, abs=1e-12)
        assert one.undefined == other.undefined


def test_the_bootstrap_is_that_of_a_loop() -> None:
    from sklearn.metrics import roc_auc_score

    a, b = columns(40, 0), columns(40, 1)
    generator, y = np.random.default_rng(7), np.array(a["label_oa"])
    differences = []
    for _ in range(300):
        rows = generator.integers(0, 40, 40)
        first, second = (roc_auc_score(y[rows], np.array(table["prob_oa"])[rows]) for table in (a, b))
        differences.append(second - first)
    rows = compare_predictions([_model(0)], [_model(1)], bootstrap=Bootstrap(300, 7))
    found = _row(rows, "OA", "auc")
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(np.percentile(differences, [2.5, 97.5])))
    low, high = ((np.array(differences) * sign <= 1e-12).sum() + 1 for sign in (1, -1))
    assert found.p_value == pytest.approx(2 * min(low, high) / 301)
    assert found.effect_size == pytest.approx(found.difference / np.std(differences, ddof=1))
    assert found.p_not_better == pytest.approx(np.mean(np.array(differences) < 0), abs=0.01)
    assert (found.test, found.scope) == ("paired_bootstrap", "one run")


def test_accuracy_is_tested_by_mcnemar_where_knees_are_independent() -> None:
    a, b = _model(0), _model(1)
    found = _row(compare_predictions([a], [b]), "OA", "accuracy")
    expected = mcnemar(*(one.heads["oa"].predicted == one.labels["oa"] for one in (a, b)))
    assert (found.test, found.p_value) == (expected.test, expected.p_value)
    assert (found.effect, found.effect_size) == ("discordant_odds_ratio", expected.odds_ratio)
    right = [one.heads["kl"].predicted == one.labels["kl"] for one in (a, b)]
    grades = _row(compare_predictions([a], [b]), "KL", "accuracy")
    assert (grades.p_value, grades.test[:7]) == (mcnemar(*right).p_value, "mcnemar")
    resampled = compare_predictions([a], [b], bootstrap=Bootstrap(50))
    assert _row(resampled, "KL", "accuracy").test == "paired_bootstrap"


def test_two_knees_of_a_subject_are_one_unit() -> None:
    pairs = [_model(seed, per_subject=2) for seed in (0, 1)]
    rows = compare_predictions([pairs[0]], [pairs[1]], auc_test="delong")
    assert {row.test for row in rows} <= {"jackknife", "sign_flip", "clustered_delong"}
    assert {(row.n, row.subjects) for row in rows} == {(40, 20)}


def test_copied_knees_add_no_certainty() -> None:
    tables = [columns(40, seed) for seed in (0, 1)]
    doubled = []
    for table in tables:
        twice = {name: [*cells, *cells] for name, cells in table.items()}
        twice["knee"] = [*table["knee"], *(f"{knee}-left" for knee in table["knee"])]
        doubled.append(parse_predictions(twice))
    once = compare_predictions([parse_predictions(tables[0])], [parse_predictions(tables[1])])
    twice_rows = compare_predictions([doubled[0]], [doubled[1]])
    for metric in ("qwk", "macro_auc", "rps"):
        one, two = _row(once, "KL", metric), _row(twice_rows, "KL", metric)
        assert (one.ci_low, one.ci_high) == pytest.approx((two.ci_low, two.ci_high), abs=1e-12)


def test_seeds_are_readers() -> None:
    a, b = [_model(seed) for seed in range(3)], [_model(seed) for seed in range(3, 6)]
    rows = compare_predictions(a, b)
    assert {(row.seeds, row.scope, row.test) for row in rows} == {(3, "recipe", "obuchowski_rockette")}
    alone = [_row(compare_predictions([x], [y]), "KL", "qwk") for x, y in zip(a, b, strict=True)]
    found = _row(rows, "KL", "qwk")
    assert found.difference == pytest.approx(np.mean([row.difference for row in alone]))
    assert found.models_ci_low != found.ci_low
    assert found.models_p_value != found.p_value
    paired = _row(compare_predictions(a, b, paired_seeds=True), "KL", "qwk")
    assert paired.difference == found.difference
    assert paired.standard_error != found.standard_error
    assert (paired.models_ci_low, paired.models_p_value) == (found.models_ci_low, found.models_p_value)


def test_one_model_against_several_is_for_these_models() -> None:
    rows = compare_predictions([_model(0)], [_model(1), _model(2)])
    for row in rows:
        assert (row.scope, row.seeds) == ("trained models", 1)
        assert "not for the recipe" in row.note
        assert (row.ci_low, row.p_value) == (row.models_ci_low, row.models_p_value)
    with pytest.raises(ValueError, match="paired seeds: expected as many models on each side, got 1 and 2"):
        compare_predictions([_model(0)], [_model(1), _model(2)], paired_seeds=True)


def test_knees_with_an_undefined_value_are_counted_out() -> None:
    a, b = np.array([[0.1, np.nan, 0.3, 0.2]]), np.array([[0.2, 0.5, 0.1, np.nan]])
    found = paired_difference(a, b, list("wxyz"))
    assert (found.n, found.subjects) == (2, 2)
    assert found.difference == pytest.approx(-0.05)
    nothing = paired_difference(np.full((1, 4), np.nan), b, list("wxyz"))
    assert (nothing.n, nothing.note) == (0, "There is no labelled knee.")
    assert np.isnan([nothing.a, nothing.difference, nothing.p_value, nothing.ci_low]).all()


def test_values_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"b: expected shape \(seeds, 2\)"):
        paired_difference([0.1, 0.2], [0.1], ["x", "y"])


def test_any_function_of_weights_can_be_compared() -> None:
    values = np.arange(10.0)
    row = paired_statistic(
        [lambda weights: weights @ values / weights.sum(axis=1)],
        [lambda weights: weights @ (values + 1) / weights.sum(axis=1)],
        list("abcdefghij"),
        metric="mean",
    )
    assert row.difference == pytest.approx(1)
    assert row.p_value == pytest.approx(2 / 2**10)  # ten unanimous subjects


def test_one_class_gives_undefined_rows_not_made_up_ones() -> None:
    tables = [columns(20, seed) | {"label_kl": [3] * 20, "label_oa": [1] * 20} for seed in (0, 1)]
    rows = compare_predictions([parse_predictions(tables[0])], [parse_predictions(tables[1])])
    for metric in ("auc", "average_precision", "specificity"):
        row = _row(rows, "OA", metric)
        assert row.undefined == 20
        assert "a class is absent" in row.note
        assert np.isnan([row.a, row.difference, row.ci_low, row.p_value, row.p_adjusted]).all()
    assert np.isfinite(_row(rows, "OA", "brier").p_value)
    assert _row(rows, "KL", "macro_auc").undefined == 20


def test_a_grade_of_one_subject_has_no_interval() -> None:
    tables = [columns(40, seed) for seed in (0, 1)]
    labels = [0] * 15 + [2] * 14 + [3] * 10 + [1]
    rows = compare_predictions(
        *([parse_predictions(table | {"label_kl": [*labels[:-1], 4]})] for table in tables)
    )
    assert _row(rows, "KL", "macro_auc").undefined == 40  # no knee of grade 1 at all
    labels[0] = 4
    tables = [
        table | {"label_kl": labels, "label_oa": [int(grade >= 2) for grade in labels]} for table in tables
    ]
    row = _row(
        compare_predictions(*([parse_predictions(table)] for table in tables)),
        "KL",
        "macro_auc",
    )
    assert np.isfinite(row.difference)
    assert np.isnan([row.p_value, row.ci_low]).all()
    assert row.undefined == 2  # without the only knee of grade 1, or that of grade 4
    assert row.note == "No interval: without any one of 2 subjects a class would be absent."


def test_a_single_subject_has_values_but_no_interval() -> None:
    tables = [columns(20, seed) | {"subject": ["s"] * 20} for seed in (0, 1)]
    rows = compare_predictions([parse_predictions(tables[0])], [parse_predictions(tables[1])])
    for row in rows:
        assert np.isfinite(row.difference)
        assert np.isnan([row.ci_low, row.ci_high, row.p_value]).all()
        assert (row.subjects, row.scope) == (1, "nothing")


def test_constant_scores_are_a_coin() -> None:
    constant = columns(20) | {"prob_oa": [0.3] * 20}
    row = _row(compare_predictions([parse_predictions(constant)], [_model(1, 20)]), "OA", "auc")
    assert row.a == 0.5
    assert np.isfinite(row.p_value)


def test_unlabelled_knees_are_left_out() -> None:
    tables = []
    for seed in (0, 1):
        table = columns(20, seed)
        table["label_kl"] = ["", "", *table["label_kl"][2:]]
        tables.append(parse_predictions(table))
    rows = compare_predictions([tables[0]], [tables[1]])
    assert _row(rows, "KL", "qwk").n == 18
    assert _row(rows, "OA", "auc").n == 20


def _without(prefix: str, seed: int = 0) -> Predictions:
    table = {name: cells for name, cells in columns(20, seed).items() if not name.startswith(prefix)}
    return parse_predictions(table, f"without {prefix}")


def test_kl_models_are_scored_on_oa_only_when_asked() -> None:
    kl_only, both = _without("prob_oa"), _model(1, 20)
    assert {row.task for row in compare_predictions([kl_only], [both])} == {"KL"}
    rows = compare_predictions([kl_only], [both], oa_from_kl=True)
    assert {row.task for row in rows} == {"OA", "KL"}
    from sklearn.metrics import roc_auc_score

    expected = roc_auc_score(both.labels["oa"], kl_only.heads["kl"].probabilities[:, 2:].sum(axis=1))
    assert _row(rows, "OA", "auc").a == pytest.approx(expected)
    assert _row(rows, "OA", "auc").b == pytest.approx(
        roc_auc_score(both.labels["oa"], both.heads["oa"].probabilities[:, 1])
    )


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(ValueError, match=r"without prob_kl has OA, without prob_oa has KL.*--oa-from-kl"):
        compare_predictions([_without("prob_kl")], [_without("prob_oa")])


def test_a_side_without_tables_is_refused() -> None:
    with pytest.raises(ValueError, match="one prediction table a side, got 0 and 1"):
        compare_predictions([], [_model()])


def test_chosen_measures_only() -> None:
    a, b = _model(0), _model(1)
    few = compare_predictions([a], [b], metrics=["qwk", "accuracy"])
    assert [(row.task, row.metric) for row in few] == [("OA", "accuracy"), ("KL", "accuracy"), ("KL", "qwk")]
    assert few[2] == _row(compare_predictions([a], [b]), "KL", "qwk")
    with pytest.raises(ValueError, match=r"metrics: expected some of auc, .* got 'kappa'"):
        compare_predictions([a], [b], metrics=["kappa"])


def test_global_randomness_is_left_alone() -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    compare_predictions([_model(0), _model(1)], [_model(2)])
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_summary_over_seeds() -> None:
    models = [_model(seed) for seed in range(3)]
    rows = {(row.task, row.metric): row for row in summarise_predictions(models)}
    alone = [{(row.task, row.metric): row for row in summarise_predictions([model])} for model in models]
    for key, row in rows.items():
        values = [one[key].value for one in alone]
        assert row.value == pytest.approx(np.mean(values))
        assert row.seed_sd == pytest.approx(np.std(values, ddof=1))
        assert (row.seeds, row.knees, row.subjects) == (3, 40, 40)
        assert row.ci_low < row.value < row.ci_high
    assert np.isnan(alone[0]["KL", "qwk"].seed_sd)
    assert (alone[0]["KL", "qwk"].scope, rows["KL", "qwk"].scope) == ("one run", "recipe")
