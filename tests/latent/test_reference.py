"""Where a new knee lies among training knees, and how often knees of the same kind are called unusual."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf

from oahier.latent.novelty import MahalanobisDistance, conformal_p, smallest_level
from oahier.latent.training_knees import EmbeddingReference
from oahier.types import MISSING


def knees(count: int, features: int = 24, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated embeddings whose first direction follows the grade."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=torch.Generator().manual_seed(99))
    grades = torch.randint(0, 5, (count,), generator=generator)
    hidden = torch.randn(count, features, generator=generator)
    hidden[:, 0] += 2.0 * grades
    return hidden @ mixing, grades


def reference(train: int = 120, held_out: int = 60, features: int = 24) -> EmbeddingReference:
    embeddings, grades = knees(train, features, seed=1)
    return EmbeddingReference.fit(
        embeddings, grades, (grades >= 2).long(), knees(held_out, features, seed=2)[0], kind="lda"
    )


def test_distance_is_that_of_ledoit_and_wolf() -> None:
    train, new = knees(40, seed=3)[0], knees(9, seed=4)[0]
    standard = ((train - train.mean(0)) / train.std(0)).double().numpy()
    oracle = LedoitWolf(assume_centered=True).fit(standard)
    squared = oracle.mahalanobis(((new - train.mean(0)) / train.std(0)).double().numpy())
    found = MahalanobisDistance.fit(train)(new)
    np.testing.assert_allclose(found.numpy(), np.sqrt(squared / train.shape[1]), rtol=1e-4)


def test_more_features_than_knees_and_features_that_never_vary() -> None:
    train, _ = knees(20, features=64, seed=5)
    train[:, 3] = 7.0
    distance = MahalanobisDistance.fit(train)
    off = train[:1].clone()
    off[0, 3] = 9.0
    assert bool(distance(train).isfinite().all())
    assert float(distance(off)[0]) > float(distance(train[:1])[0]), "what never varied must not vary"


@pytest.mark.parametrize("held_out", [9, 30, 200])
def test_knees_of_the_same_kind_are_unusual_as_often_as_said(held_out: int) -> None:
    """Over many references, the share of knees of the same kind that are flagged keeps to the level."""
    level = smallest_level(held_out)
    flagged, seen = 0, 0
    everything, _ = knees(60 * (held_out + 20), seed=6)
    for part in everything.split(held_out + 20):
        place_p = conformal_p(part[held_out:].norm(dim=1), part[:held_out].norm(dim=1))
        flagged += int((place_p <= level).sum())
        seen += len(place_p)
    assert 0.5 * level < flagged / seen <= level * 1.25


def test_what_no_training_knee_is_like_is_flagged_and_the_training_knees_are_not() -> None:
    found = reference()
    inside, _ = knees(400, seed=7)
    assert found.place(inside).unusual.double().mean() < 0.12
    elsewhere = inside[:50] * 4
    assert bool(found.place(elsewhere).unusual.all())
    # off the plane on which training knees lie, by less than their spread along it: norms do not tell
    hidden = torch.linalg.svd(found.embeddings - found.embeddings.mean(0)).Vh[-1]
    shifted = found.embeddings.mean(0)[None] + 20.0 * hidden
    assert shifted.norm() < found.embeddings.norm(dim=1).max()
    assert bool(found.place(shifted).unusual.all())


def test_place_follows_the_grade() -> None:
    found = reference()
    new, grades = knees(200, seed=8)
    place = found.place(new, neighbours=7)
    assert place.neighbours.shape == (200, 7)
    means = [float(place.percentile[grades == grade].mean()) for grade in range(5)]
    assert means == sorted(means)
    assert means[0] < 20
    assert means[4] > 80
    assert float((place.nearest_grade - grades).abs().double().mean()) < 0.7
    nearest = found.kl[place.neighbours].double().mean(dim=1)
    assert np.corrcoef(nearest.numpy(), grades.numpy())[0, 1] > 0.5
    own = found.place(found.embeddings)
    assert (own.neighbours[:, 0] == torch.arange(len(found.embeddings))).all()
    assert float(own.percentile.mean()) == pytest.approx(50)


def test_few_held_out_knees_flag_the_farthest_only() -> None:
    found = reference(held_out=5)
    assert found.level == pytest.approx(1 / 6)
    distances = torch.tensor([float(found.held_out_distance.max()) * 0.99, 99.0])
    assert conformal_p(distances, found.held_out_distance).tolist() == pytest.approx([2 / 6, 1 / 6])


def test_embeddings_that_are_not_finite() -> None:
    embeddings, grades = knees(30)
    embeddings[4] = torch.nan
    found = EmbeddingReference.fit(embeddings, grades, (grades >= 2).long(), knees(20, seed=2)[0])
    assert len(found.embeddings) == 29
    place = found.place(torch.full((1, 24), torch.nan))
    assert bool(place.unusual[0])
    assert bool(place.percentile.isnan()[0])
    assert place.nearest_grade.tolist() == [MISSING]


def test_knees_without_grades() -> None:
    embeddings, _ = knees(30)
    unknown = torch.full((30,), MISSING)
    found = EmbeddingReference.fit(embeddings, unknown, unknown, knees(20, seed=2)[0])
    place = found.place(embeddings[:2])
    assert place.nearest_grade.tolist() == [MISSING, MISSING]
    assert bool(place.percentile.isfinite().all())
    assert found.grade_projections() == {}


def test_state_is_plain_and_gives_the_same_places() -> None:
    found = reference()
    file = io.BytesIO()
    torch.save(found.state(), file)
    file.seek(0)
    again = EmbeddingReference.from_state(torch.load(file, weights_only=True))
    new, _ = knees(10, seed=9)
    for name in ("axis", "percentile", "distance", "p", "neighbours"):
        assert torch.equal(getattr(found.place(new), name), getattr(again.place(new), name)), name


def test_wrong_widths_are_refused() -> None:
    found = reference()
    with pytest.raises(ValueError, match="expected 24 features"):
        found.place(torch.zeros(1, 12))
    with pytest.raises(ValueError, match="held_out: expected 24 features"):
        EmbeddingReference(found.embeddings, found.kl, found.oa, torch.zeros(3, 12), found.axis)
    with pytest.raises(ValueError, match="two knees or more"):
        MahalanobisDistance.fit(torch.zeros(1, 4))


def test_a_held_out_knee_as_far_away_counts() -> None:
    assert conformal_p(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 2.0, 3.0])).tolist() == [0.75, 0.5]
