from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oahier.data import Folds, ManifestError, SplitFractions, read_manifest
from oahier.data.splits import assign_splits
from oahier.types import MISSING


@st.composite
def cohorts(draw: st.DrawFn) -> pd.DataFrame:
    subjects = draw(st.integers(12, 60))
    knees = [draw(st.integers(1, 3)) for _ in range(subjects)]
    names = [f"s{i}" for i, count in enumerate(knees) for _ in range(count)]
    kl = [draw(st.integers(-1, 4)) for _ in names]
    return pd.DataFrame({"subject": names, "kl": kl, "oa": [MISSING if k < 0 else int(k >= 2) for k in kl]})


@settings(max_examples=40, deadline=None)
@given(cohorts(), st.integers(0, 100))
def test_subjects_stay_together_and_shares_are_kept(table: pd.DataFrame, seed: int) -> None:
    split = pd.Series(assign_splits(table, SplitFractions(val=0.2, test=0.2), seed), index=table.index)
    assert (split.groupby(table["subject"]).nunique() == 1).all()
    assert set(split) == {"train", "val", "test"}
    assert abs((split == "test").sum() - 0.2 * len(table)) <= 3
    shuffled = table.sample(frac=1, random_state=seed)
    again = pd.Series(assign_splits(shuffled, SplitFractions(val=0.2, test=0.2), seed), index=shuffled.index)
    pd.testing.assert_series_equal(again.sort_index(), split)


@settings(max_examples=25, deadline=None)
@given(cohorts(), st.integers(2, 5), st.integers(0, 20))
def test_folds_cover_every_knee_once(table: pd.DataFrame, count: int, seed: int) -> None:
    tested = np.zeros(len(table), dtype=int)
    for fold in range(count):
        split = np.array(assign_splits(table, Folds(fold, count), seed))
        tested += split == "test"
        assert {"train", "val"} <= set(split)
    assert (tested == 1).all()


def test_every_grade_is_in_every_split() -> None:
    kl = np.repeat(np.arange(5), 20)
    table = pd.DataFrame({"subject": [f"{i:03d}" for i in range(100)], "kl": kl, "oa": (kl >= 2).astype(int)})
    split = pd.Series(assign_splits(table, SplitFractions(), 0))
    counts = pd.crosstab(table["kl"], split)
    assert (counts["test"] == 3).all()
    assert (counts["val"] == 3).all()
    assert assign_splits(table, SplitFractions(), 0) != assign_splits(table, SplitFractions(), 1)


def test_oa_stratifies_where_the_grade_is_unknown() -> None:
    oa = np.repeat([0, 1], 20)
    table = pd.DataFrame({"subject": [f"{i:03d}" for i in range(40)], "kl": MISSING, "oa": oa})
    split = pd.Series(assign_splits(table, SplitFractions(val=0.25, test=0.25), 0))
    assert (pd.crosstab(table["oa"], split)[["val", "test"]] == 5).all(axis=None)


def test_too_few_subjects() -> None:
    table = pd.DataFrame({"subject": ["a", "a", "b"], "kl": [0, 1, 2], "oa": [0, 0, 1]})
    with pytest.raises(ValueError, match="at least 3 subjects to fill 3 splits, got 2"):
        assign_splits(table, SplitFractions(), 0)
    assert sorted(set(assign_splits(table, SplitFractions(val=0.0, test=0.5), 0))) == ["test", "train"]


@pytest.mark.parametrize("arguments", [{"val": -0.1}, {"val": 0.5, "test": 0.5}])
def test_impossible_fractions(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="add up to less than 1"):
        SplitFractions(**arguments)


def test_impossible_folds() -> None:
    with pytest.raises(ValueError, match=r"test in 0 \.\. count - 1"):
        Folds(test=5, count=5)


def test_manifest_with_splits(knees: Path) -> None:
    manifest = read_manifest(knees).with_splits(SplitFractions(val=0.2, test=0.2), seed=1)
    assert manifest.has_splits
    assert sum(len(manifest.subset(split)) for split in ("train", "val", "test")) == len(manifest)
    assert not set(manifest.subset("train").table["subject"]) & set(manifest.subset("test").table["subject"])
    carved = manifest.with_splits(SplitFractions(val=0.0, test=0.3), 1)
    with_validation = carved.with_validation(0.2, 1)
    assert list(with_validation.subset("test").table["knee"]) == list(carved.subset("test").table["knee"])
    assert 0 < len(with_validation.subset("val")) < len(carved.subset("train"))
    with pytest.raises(ManifestError, match="subjects to fill"):
        manifest.subset("val").with_splits(Folds(0))
