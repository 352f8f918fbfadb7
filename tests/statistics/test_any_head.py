"""Tasks are heads: whatever has a label and probabilities is compared, summarised and checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_predictions import columns
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from oahier.metrics import Metric, registered, weighted_mean
from oahier.statistics import (
    Bootstrap,
    compare_predictions,
    mcnemar,
    parse_predictions,
    read_predictions,
    summarise_predictions,
)
from oahier.statistics.columns import probability_columns, require_own_columns
from oahier.statistics.paired_predictions import align


def jsn(seed: int, knees: int = 40, classes: int = 4) -> dict[str, Any]:
    """Joint-space narrowing in ordered classes, and a finding that is there or not, beside each other."""
    labels = np.random.default_rng(knees).permutation(np.arange(knees) % classes)
    generator = np.random.default_rng(seed)
    logits = -np.abs(np.arange(classes) - labels[:, None]) + generator.normal(0, 1.2, (knees, classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table: dict[str, Any] = {
        "knee": [f"k{row:03d}" for row in range(knees)],
        "label_jsn": labels.tolist(),
        "label_effusion": (labels >= 1).astype(int).tolist(),
        "prob_effusion": p[:, 1:].sum(axis=1).clip(0, 1).tolist(),
    }
    return table | {f"prob_jsn_{grade}": p[:, grade].tolist() for grade in range(classes)}


def test_heads_of_any_name_are_compared() -> None:
    a, b = jsn(0), jsn(1)
    rows = compare_predictions([parse_predictions(a)], [parse_predictions(b)], auc_test="delong")
    found = {(row.task, row.metric): row for row in rows}
    ordinal, binary = (
        {one.name for one in registered(kind) if one.compared} for kind in ("ordinal", "binary")
    )
    assert {metric for task, metric in found if task == "jsn"} == ordinal
    assert {metric for task, metric in found if task == "effusion"} == binary
    p, labels = np.stack([b[f"prob_jsn_{grade}"] for grade in range(4)], axis=1), np.array(b["label_jsn"])
    kappa = cohen_kappa_score(labels, p.argmax(axis=1), weights="quadratic", labels=range(4))
    assert found["jsn", "qwk"].b == pytest.approx(kappa)
    area = roc_auc_score(a["label_effusion"], a["prob_effusion"])
    assert found["effusion", "auc"].a == pytest.approx(area)
    assert found["effusion", "auc"].test == "delong"
    right = [np.array(one["label_effusion"]) == (np.array(one["prob_effusion"]) >= 0.5) for one in (a, b)]
    assert found["effusion", "accuracy"].p_value == mcnemar(*right).p_value
    assert found["jsn", "accuracy"].test.startswith("mcnemar")


def test_heads_stand_beside_the_levels_which_come_first() -> None:
    table = jsn(0) | columns(40)
    model = parse_predictions(table)
    assert list(model.heads) == ["oa", "kl", "jsn", "effusion"]
    tasks = dict.fromkeys(row.task for row in summarise_predictions([model]))
    assert list(tasks) == ["OA", "KL", "jsn", "effusion"]


def test_a_head_of_one_side_is_left_out() -> None:
    both, fewer = jsn(0), {name: cells for name, cells in jsn(1).items() if "jsn" not in name}
    rows = compare_predictions([parse_predictions(both)], [parse_predictions(fewer)])
    assert {row.task for row in rows} == {"effusion"}


def test_a_callers_own_metric_is_compared() -> None:
    bias = Metric("bias", lambda weights, rows: weighted_mean(weights, rows.predicted - rows.labels))
    models = [parse_predictions(jsn(seed)) for seed in range(2)]
    rows = compare_predictions([models[0]], [models[1]], metrics=["mae", bias])
    assert [(row.task, row.metric) for row in rows] == [("jsn", "mae"), ("jsn", "bias")]
    (own,) = summarise_predictions([models[0]], metrics=[bias])
    head = models[0].heads["jsn"]
    assert own.value == pytest.approx((head.predicted - models[0].labels["jsn"]).mean())


def test_metrics_that_are_not_shown_are_there_by_name() -> None:
    (row,) = summarise_predictions([parse_predictions(jsn(0))], metrics=["linear_kappa"])
    assert (row.task, row.metric) == ("jsn", "linear_kappa")


def test_five_grades_of_another_name_have_a_severe_auc_with_interval() -> None:
    five = parse_predictions(jsn(0, classes=5))
    (row,) = summarise_predictions([five], metrics=["severe_auc"])
    expected = roc_auc_score(five.labels["jsn"] >= 3, five.heads["jsn"].severity)
    assert row.value == pytest.approx(expected)
    assert row.ci_low < row.value < row.ci_high


def test_different_numbers_of_classes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"four and five: head jsn: expected one number of classes, got 4 and 5"
    ):
        align([parse_predictions(jsn(0), "four"), parse_predictions(jsn(0, classes=5), "five")])


def test_the_published_order_is_that_of_its_heads() -> None:
    a, b = parse_predictions(jsn(0)), parse_predictions(jsn(1))
    with pytest.raises(
        ValueError, match=r"the published order is that of the heads oa and kl: .* of head 'jsn'"
    ):
        compare_predictions([a], [b], bootstrap=Bootstrap(published=True))


def _less(table: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: cells for name, cells in table.items() if name not in names}


KL_2 = {"label_kl_2": [0, 1] * 5, "prob_kl_2": [0.1, 0.9] * 5}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (columns(10) | KL_2, r"t.csv: heads 'kl' and 'kl_2': both need the column prob_kl_2"),
        (
            columns(10) | {"prob_kl": [0.5] * 10},
            r"t.csv: expected a column prob_kl or columns prob_kl_0 to prob_kl_4",
        ),
        (
            _less(jsn(0), "prob_jsn_1"),
            r"t.csv: expected all of prob_jsn_0 to prob_jsn_3 or none, prob_jsn_1 missing",
        ),
        (_less(columns(10), "prob_kl_4"), r"all of prob_kl_0 to prob_kl_4 or none, prob_kl_4 missing"),
        (jsn(0) | {"label_jsn": [4] * 40}, r"column label_jsn: expected a whole number 0 to 3, got '4'"),
        (
            jsn(0) | {"label_effusion": [2] * 40},
            r"column label_effusion: expected a whole number 0 to 1, got '2'",
        ),
        (jsn(0) | {"prob_jsn_3": [0.9] * 40}, r"columns prob_jsn_0 to prob_jsn_3: expected a sum of 1"),
    ],
)
def test_columns_in_doubt_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_predictions(table, "t.csv")


def test_names_that_only_look_alike_are_two_heads() -> None:
    reading = {f"prob_kl_2_{grade}": [0.2] * 10 for grade in range(5)} | {"label_kl_2": [4] * 10}
    assert list(parse_predictions(columns(10) | reading).heads) == ["oa", "kl", "kl_2"]
    only = {"knee": ["a", "b"], "label_kl_2": [0, 1], "prob_kl_2": [0.2, 0.7]}
    assert list(parse_predictions(only).heads) == ["kl_2"]
    no_label = columns(10) | {"prob_other": [7] * 10, "prob_kl_mean": [7] * 10, "prob_kl_02": [7] * 10}
    assert list(parse_predictions(no_label).heads) == ["oa", "kl"]


def test_two_columns_of_one_head_are_two_classes() -> None:
    table = _less(jsn(0, classes=2), "label_effusion", "prob_effusion")
    model = parse_predictions(table)
    assert model.heads["jsn"].classes == 2
    assert {row.metric for row in summarise_predictions([model])} == {
        one.name for one in registered("binary")
    }


def test_heads_that_would_share_a_column_are_named() -> None:
    heads = {"kl": probability_columns("kl", 5), "kl_5": ["prob_kl_5"], "kl_4": ["prob_kl_4"]}
    with pytest.raises(ValueError, match="heads 'kl' and 'kl_4': both need the column prob_kl_4"):
        require_own_columns(heads)
    with pytest.raises(ValueError, match="heads 'kl_4' and 'kl': both need the column prob_kl_4"):
        require_own_columns({name: heads[name] for name in ("kl_4", "kl")})
    require_own_columns({name: heads[name] for name in ("kl", "kl_5")})


def test_a_diverged_model_is_refused_or_undefined_throughout(tmp_path) -> None:
    table = jsn(0)
    broken = table | {f"prob_jsn_{grade}": ["", *table[f"prob_jsn_{grade}"][1:]] for grade in range(4)}
    broken |= {"pred_jsn": ["", *[0] * 39], "severity_jsn": ["", *[0.5] * 39]}
    with pytest.raises(ValueError, match=r"row 2 \(knee k000\), column prob_jsn_0: .*did training diverge"):
        parse_predictions(broken)
    path = tmp_path / "predictions.csv"
    import pandas as pd

    pd.DataFrame(broken).to_csv(path, index=False)
    model = read_predictions(path, undefined=True)
    assert model.heads["jsn"].predicted[0] == -1
    assert np.isnan(model.heads["jsn"].severity[0])
    rows = compare_predictions([model], [parse_predictions(jsn(1))])
    for row in rows:
        values = [row.a, row.difference, row.p_value, row.ci_low]
        assert np.isnan(values).all() == (row.task == "jsn"), row
    assert {row.undefined for row in rows if row.task == "jsn"} == {40}
    for one in summarise_predictions([model], metrics=["mae", "brier"]):
        assert np.isnan(one.value) == (one.task == "jsn")


def test_two_knees_a_subject_have_the_clustered_delong_test():
    """The interval is that of Obuchowski's covariance, in closed form."""
    from oahier.statistics import paired_auc_test
    from tests.made_predictions import columns

    a, b = (columns(80, seed) | {"subject": [f"s{knee // 2}" for knee in range(80)]} for seed in (0, 1))
    first, second = parse_predictions(a), parse_predictions(b)
    rows = compare_predictions([first], [second], metrics=["auc"], auc_test="delong")
    row = next(row for row in rows if row.metric == "auc")
    scores = [table.heads["oa"].probabilities[:, 1] for table in (first, second)]
    closed = paired_auc_test(first.labels["oa"], *scores, subjects=first.subject)
    assert row.test == "clustered_delong"
    assert (row.ci_low, row.ci_high, row.p_value) == pytest.approx(
        (closed.ci_low, closed.ci_high, closed.p_value)
    )
