"""The severity axis against the published recipe, and where it is undefined."""

import math
import random
import sys

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from oahier.hierarchy import oa_from_kl
from oahier.latent import (
    AXIS_KINDS,
    WITH_CHANCE,
    SeverityAxisFit,
    axis_chance,
    axis_measures,
    fit_severity_axis,
    split_half_reliability,
    umap_embedding,
)
from oahier.latent.axis_kinds import named_direction
from oahier.latent.unbiased import label_cosine_unbiased, straightness_unbiased
from oahier.metrics.association import trend
from oahier.types import MISSING


def knees(count, features=12, seed=0, signal=2.0):
    """Embeddings whose first coordinates move with the grade, with their grades."""
    generator = torch.Generator().manual_seed(seed)
    kl = torch.randint(0, 5, (count,), generator=generator)
    embeddings = torch.randn(count, features, generator=generator)
    embeddings[:, :4] -= signal * kl[:, None]  # decreasing: the sign must be turned
    return embeddings, kl


@pytest.mark.parametrize(("count", "features"), [(60, 12), (30, 64)])
def test_pca_axis_and_probe_follow_the_published_recipe(count, features):
    train, train_kl = knees(count, features, seed=1)
    test, test_kl = knees(25, features, seed=2)
    fit = fit_severity_axis(train, train_kl, kind="pca")
    measures = axis_measures(fit, test, test_kl)

    scaler = StandardScaler().fit(train.double().numpy())
    pca = PCA(n_components=2, svd_solver="full").fit(scaler.transform(train.double().numpy()))
    first = pca.transform(scaler.transform(train.double().numpy()))[:, 0]
    held_out = pca.transform(scaler.transform(test.double().numpy()))
    oa, test_oa = (train_kl >= 2).numpy(), (test_kl >= 2).numpy()
    probe = LogisticRegression().fit(first[:, None], oa)

    np.testing.assert_allclose(fit.project(test).abs().numpy(), np.abs(held_out[:, 0]), rtol=1e-9)
    np.testing.assert_allclose(fit.project_second(test).abs().numpy(), np.abs(held_out[:, 1]), atol=1e-9)
    assert fit.explained_variance == pytest.approx(pca.explained_variance_ratio_[0], rel=1e-9)
    assert measures["explained_variance"] == fit.explained_variance
    assert measures["spearman_kl"] == pytest.approx(abs(spearmanr(held_out[:, 0], test_kl.numpy()).statistic))
    assert measures["spearman_oa"] == pytest.approx(abs(spearmanr(held_out[:, 0], test_oa).statistic))
    expected = roc_auc_score(test_oa, probe.predict_proba(held_out[:, :1])[:, 1])
    assert measures["probe_auc"] == pytest.approx(expected)
    assert abs(fit.probe_coefficient) == pytest.approx(abs(probe.coef_[0, 0]), rel=1e-5)


@pytest.mark.parametrize("kind", AXIS_KINDS)
@pytest.mark.parametrize("features", [12, 80])
def test_every_kind_finds_the_grade_and_points_upwards(kind, features):
    train, kl = knees(50, features, seed=3)
    test, test_kl = knees(40, features, seed=4)
    fit = fit_severity_axis(train, kl, kind=kind)
    measures = axis_measures(fit, test, test_kl)
    assert spearmanr(fit.project(train).numpy(), kl.numpy()).statistic > 0.8
    assert spearmanr(fit.project(test).numpy(), test_kl.numpy()).statistic > 0.8
    assert measures["monotonicity"] == 1.0
    assert measures["probe_auc"] > 0.9
    assert fit.direction.norm().item() == pytest.approx(1)
    assert (fit.direction @ fit.second).item() == pytest.approx(0, abs=1e-9)
    assert 0 < fit.explained_variance <= 1


def test_orientation_comes_from_the_training_labels():
    train, kl = knees(50, seed=5)
    fit = fit_severity_axis(train, kl)
    turned = fit_severity_axis(-train, kl)
    torch.testing.assert_close(fit.project(train), turned.project(-train))
    by_oa = fit_severity_axis(train, torch.full_like(kl, MISSING), oa_from_kl(kl))
    torch.testing.assert_close(by_oa.direction, fit.direction)


def test_measures_by_hand():
    """One feature, already standard: grades at known places."""
    one = torch.ones(1, dtype=torch.float64)
    fit = SeverityAxisFit("pca", 0 * one, one, one, 0 * one, 1.0, 1.0, 0.0, 4)
    kl = torch.tensor([0, 0, 1, 1, 2, 2, 4])
    embeddings = torch.tensor([[0.0], [2.0], [4.0], [6.0], [3.0], [5.0], [9.0]])
    measures = axis_measures(fit, embeddings, kl)
    deviation = math.sqrt(2)
    assert measures["separation_0_1"] == pytest.approx(4 / deviation)
    assert measures["separation_1_2"] == pytest.approx(-1 / deviation)
    assert measures["separation"] == pytest.approx(1.5 / deviation)
    assert math.isnan(measures["separation_2_3"])  # nobody has grade 3
    assert measures["monotonicity"] == pytest.approx(2 / 3)  # up, down, up
    assert measures["straightness"] == pytest.approx(8 / 10)
    assert measures["oa_kl_cosine"] == pytest.approx(1)
    assert measures["explained_variance_held_out"] == pytest.approx(1)
    assert measures["knees"] == 7
    assert measures["trend_z"] > 0


def test_straightness_of_a_right_angle():
    two = torch.ones(2, dtype=torch.float64)
    fit = SeverityAxisFit("pca", 0 * two, two, two / 2**0.5, 0 * two, 1.0, 1.0, 0.0, 4)
    embeddings = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    measures = axis_measures(fit, embeddings, torch.tensor([0, 2, 4]))
    assert measures["straightness"] == pytest.approx(2**0.5 / 2)


def test_trend_oracle_values():
    """Jonckheere-Terpstra 33 with ties: z 2.216091, one-sided p 0.0133426282."""
    samples = [[1, 2, 2, 4], [2, 3, 4], [3, 4, 5, 6]]
    score = np.array([value for sample in samples for value in sample], dtype=float)
    labels = np.array([grade for grade, sample in zip((0, 2, 4), samples, strict=True) for _ in sample])
    z, p = trend(score, labels)
    assert z == pytest.approx(2.216091, abs=1e-6)
    assert p == pytest.approx(0.0133426282, abs=1e-9)


@pytest.mark.parametrize("kind", AXIS_KINDS)
@pytest.mark.parametrize(
    ("embeddings", "kl"),
    [
        (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)),
        (torch.randn(2, 4), torch.tensor([0, 4])),
        (torch.ones(6, 4), torch.tensor([0, 1, 2, 3, 4, 4])),
        (torch.full((6, 4), math.nan), torch.tensor([0, 1, 2, 3, 4, 4])),
    ],
)
def test_undefined_axes_are_nan_and_do_not_crash(kind, embeddings, kl):
    fit = fit_severity_axis(embeddings, kl, kind=kind)
    assert fit.direction.isnan().all()
    held_out, grades = knees(20, 4, seed=1)
    measures = axis_measures(fit, held_out, grades)
    assert math.isnan(measures["spearman_kl"])
    assert math.isnan(measures["probe_auc"])
    assert math.isnan(measures["monotonicity"])
    assert set(measures) == set(axis_measures(fit_severity_axis(*knees(20, 4)), held_out, grades))


def test_one_grade_leaves_label_measures_undefined():
    train, kl = knees(30)
    fit = fit_severity_axis(train, kl)
    measures = axis_measures(fit, train, torch.full_like(kl, 2))
    undefined = {name for name, value in measures.items() if math.isnan(value)}
    assert {"spearman_kl", "spearman_oa", "probe_auc", "trend_z", "trend_p", "straightness"} <= undefined
    assert not math.isnan(measures["explained_variance_held_out"])
    nobody = axis_measures(fit, train[:0], kl[:0])
    assert nobody["knees"] == 0
    assert math.isnan(nobody["explained_variance_held_out"])


def test_a_grade_per_knee_does_not_break_the_discriminant():
    fit = fit_severity_axis(
        torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.arange(5), kind="lda"
    )
    assert fit.direction.isfinite().all()


def test_missing_labels_are_left_out_of_label_measures():
    train, kl = knees(40)
    test, test_kl = knees(30, seed=9)
    fit = fit_severity_axis(train, kl, kind="regression")
    hidden = test_kl.clone()
    hidden[::3] = MISSING
    seen = hidden != MISSING
    expected = axis_measures(fit, test[seen], test_kl[seen])
    assert axis_measures(fit, test, hidden) == pytest.approx(expected, nan_ok=True)
    oa_only = axis_measures(fit, test, torch.full_like(kl[:30], MISSING), oa_from_kl(test_kl))
    assert math.isnan(oa_only["spearman_kl"])
    assert oa_only["probe_auc"] == axis_measures(fit, test, test_kl)["probe_auc"]


def test_state_loads_with_weights_only(tmp_path):
    train, kl = knees(40)
    fit = fit_severity_axis(train, kl, kind="lda")
    torch.save(fit.state(), tmp_path / "axis.pt")
    loaded = SeverityAxisFit.from_state(torch.load(tmp_path / "axis.pt", weights_only=True))
    assert torch.equal(loaded.project(train), fit.project(train))
    assert (loaded.kind, loaded.knees) == ("lda", 40)


def test_random_states_are_left_alone_and_results_repeat():
    train, kl = knees(40)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    fits = [fit_severity_axis(train, kl, kind=kind) for kind in (*AXIS_KINDS, *AXIS_KINDS)]
    axis_measures(fits[0], train, kl)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert states[2] == random.getstate()
    for first, second in zip(fits[:4], fits[4:], strict=True):
        assert torch.equal(first.direction, second.direction)


def test_errors_name_what_is_wrong(shapes_unchecked):
    train, kl = knees(10)
    with pytest.raises(ValueError, match=r"kind: expected one of .*got 'tsne'"):
        fit_severity_axis(train, kl, kind="tsne")
    with pytest.raises(ValueError, match=r"expected 12 features .* got 3"):
        fit_severity_axis(train, kl).project(torch.zeros(2, 3))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_umap_gives_the_same_picture_twice():
    train, _ = knees(30)
    picture = umap_embedding(train, seed=1)
    assert picture.shape == (30, 2)
    assert torch.equal(picture, umap_embedding(train, seed=1))


def test_equal_means_of_neighbouring_grades_are_no_increase():
    one = torch.ones(1, dtype=torch.float64)
    fit = SeverityAxisFit("pca", 0 * one, one, one, 0 * one, 1.0, 1.0, 0.0, 4)
    embeddings = torch.tensor([[1.0], [3.0], [2.0], [5.0]])
    assert axis_measures(fit, embeddings, torch.tensor([0, 0, 1, 2]))["monotonicity"] == 0.5


def test_the_discriminant_shrinks_as_ledoit_and_wolf_say():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.preprocessing import StandardScaler

    train, kl = knees(30, 40, seed=6)
    train = train @ torch.randn(40, 40, generator=torch.Generator().manual_seed(0)).double().to(train.dtype)
    standard = StandardScaler().fit_transform(train.double().numpy())

    def cosine(shrinkage):
        other = LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage).fit(standard, kl.numpy())
        direction = other.scalings_[:, 0] / np.linalg.norm(other.scalings_[:, 0])
        return abs(float(direction @ fit_severity_axis(train, kl, kind="lda").direction.numpy()))

    assert cosine("auto") == pytest.approx(1, abs=1e-6)
    assert cosine(0.9) < 0.999


@pytest.mark.parametrize("kind", ["lda", "regression"])
def test_knees_without_a_grade_do_not_move_a_supervised_direction(kind: str) -> None:
    train, kl = knees(40)
    standard, grades = train.double().numpy(), kl.numpy().copy()
    grades[::4] = -1
    direction = named_direction(kind)[1]
    known = grades >= 0
    assert known.sum() == 30
    assert np.array_equal(direction(standard, grades), direction(standard[known], grades[known]))


def straight_path(features, knees=98, step=1.0, seed=0):
    """Grades one standard deviation apart along one direction of a space of any width."""
    numbers = np.random.default_rng(seed)
    kl = torch.arange(knees) % 5
    values = numbers.normal(size=(knees, features))
    values[:, 0] += step * kl.numpy()
    return torch.from_numpy(values), kl


def test_unbiased_straightness_of_a_straight_path_is_one_in_any_width():
    for features in (32, 128, 512):
        found = []
        for seed in range(12):
            embeddings, kl = straight_path(features, knees=400, step=2.0, seed=seed)
            found.append(axis_measures(fit_severity_axis(embeddings, kl, kind="centroid"), embeddings, kl))
        unbiased, biased = (
            np.nanmean([one[name] for one in found]) for name in ("straightness_unbiased", "straightness")
        )
        assert unbiased == pytest.approx(1, abs=0.1)
        assert biased < 0.7


def test_unbiased_straightness_without_scatter_is_the_share_on_a_line():
    kl = np.repeat([0, 1, 2], 4)
    corner = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])[kl]
    assert straightness_unbiased(corner, kl) == pytest.approx(0.75)  # of 4/3 between centroids, 1 is even
    line = kl[:, None] * np.array([[3.0, -1.0]])
    assert straightness_unbiased(line, kl) == pytest.approx(1)
    assert math.isnan(straightness_unbiased(line[:8], kl[:8]))
    assert math.isnan(straightness_unbiased(np.zeros((12, 2)), kl))


def test_unbiased_cosine_leaves_out_the_products_of_a_knee_with_itself():
    numbers = np.random.default_rng(3)
    kl = np.repeat(np.arange(5), 9)
    oa, standard = (
        (kl >= 2).astype(int),
        numbers.normal(size=(45, 7)) + 0.8 * kl[:, None] * numbers.normal(size=7),
    )
    centred = standard - standard.mean(axis=0)
    pairs = centred @ centred.T
    np.fill_diagonal(pairs, 0)
    a, b = oa - oa.mean(), kl - kl.mean()
    expected = a @ pairs @ b / np.sqrt((a @ pairs @ a) * (b @ pairs @ b))
    assert label_cosine_unbiased(standard, oa, kl) == pytest.approx(expected)


def test_chance_is_what_embeddings_without_signal_have():
    """Straightness and cosine are far from zero without any signal, and so is their chance level."""
    embeddings, kl = straight_path(64, step=0.0)
    fit = fit_severity_axis(embeddings, kl)
    measures, chance = axis_measures(fit, embeddings, kl), axis_chance(fit, embeddings, kl, permutations=60)
    assert measures["oa_kl_cosine"] > 0.7
    for name in ("straightness", "oa_kl_cosine", "spearman_kl", "monotonicity"):
        assert chance[f"{name}_chance"] < chance[f"{name}_chance_high"]
        assert measures[name] < chance[f"{name}_chance_high"] + 0.1
    assert chance["oa_kl_cosine_chance"] == pytest.approx(measures["oa_kl_cosine"], abs=0.08)
    assert chance["probe_auc_chance"] == pytest.approx(0.5, abs=0.05)
    again = axis_chance(fit, embeddings, kl, oa_from_kl(kl), permutations=60)
    assert again == pytest.approx(chance, nan_ok=True)
    signal, kl = straight_path(64, step=2.0)
    strong = fit_severity_axis(signal, kl)
    above = axis_chance(strong, signal, kl, permutations=60)
    assert axis_measures(strong, signal, kl)["spearman_kl"] > above["spearman_kl_chance_high"]
    assert set(above) == {f"{name}_{end}" for name in WITH_CHANCE for end in ("chance", "chance_high")}


def test_split_half_reliability_knows_whether_an_axis_depends_on_who_trained_it():
    subjects = [f"s{row // 2}" for row in range(98)]
    for step, low, high in ((3.0, 0.5, 1.0), (0.0, -0.4, 0.4)):
        embeddings, kl = straight_path(64, step=step)
        held_out = straight_path(64, step=step, seed=5)[0]
        found = split_half_reliability(embeddings, kl, None, subjects, held_out, kind="regression")
        assert low <= found <= high
        assert found == split_half_reliability(embeddings, kl, None, subjects, held_out, kind="regression")
    assert math.isnan(split_half_reliability(embeddings[:3], kl[:3], None, ["a", "b", "c"], held_out))


def test_halves_share_no_subject(monkeypatch):
    embeddings, kl = straight_path(8, knees=40)
    embeddings[:, 7] = torch.arange(40).div(4, rounding_mode="floor")  # the subject
    seen = []
    original = fit_severity_axis
    monkeypatch.setattr(
        sys.modules["oahier.latent.axis_chance"],
        "fit_severity_axis",
        lambda values, *rest, **options: (
            seen.append(set(values[:, 7].tolist())) or original(values, *rest, **options)
        ),
    )
    subjects = [str(row // 4) for row in range(40)]
    split_half_reliability(embeddings, kl, None, subjects, embeddings, splits=3)
    assert len(seen) == 6
    assert all(not (first & second) for first, second in zip(seen[::2], seen[1::2], strict=True))


def test_unbiased_cosine_and_straightness_are_undefined_without_signal():
    """Their denominators are then noise around zero, and the quotient was anything (7.8 was seen)."""
    rng = np.random.default_rng(0)
    kl = np.repeat(np.arange(5), 8)
    oa = (kl >= 2).astype(int)
    noise = [rng.normal(size=(40, 64)) for _ in range(200)]
    for measured in (lambda x: label_cosine_unbiased(x, oa, kl), lambda x: straightness_unbiased(x, kl)):
        known = [value for x in noise if np.isfinite(value := measured(x))]
        assert len(known) <= 12  # the share by chance is 2.5 %
        told = [measured(x + 1.5 * kl[:, None] / 8) for x in noise[:20]]
        assert np.isfinite(told).all()
        assert np.mean(told) == pytest.approx(1, abs=0.1)
