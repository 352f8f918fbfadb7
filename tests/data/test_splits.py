from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oahier.data import (
    Folds,
    KneeMRIDataModule,
    Manifest,
    ManifestError,
    SplitFractions,
    SplitPlan,
    read_manifest,
)
from oahier.data.splitting.balance import balance_of
from oahier.data.splitting.plans import assign_splits
from oahier.data.splitting.strata import Strata
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


def largest_deviation(kl: np.ndarray, part: np.ndarray, count: int) -> float:
    """Of the share of a class, or of all knees, that lies in a part."""
    groups = [np.ones(len(kl), dtype=bool), *(kl == grade for grade in np.unique(kl))]
    return max(
        float(np.abs(np.bincount(part[group], minlength=count) / group.sum() - 1 / count).max())
        for group in groups
    )


def test_balance_is_no_worse_than_that_of_scikit_learn() -> None:
    """Random cohorts with one to four knees a subject, whose grades differ."""
    from sklearn.model_selection import StratifiedGroupKFold

    generator = np.random.default_rng(1)
    ours, theirs = [], []
    for trial in range(40):
        subjects, count = int(generator.integers(25, 200)), int(generator.integers(2, 6))
        owner = np.repeat(np.arange(subjects), generator.integers(1, generator.integers(2, 6), subjects))
        usual = generator.choice(5, subjects, p=[0.3, 0.2, 0.25, 0.15, 0.1])
        kl = np.clip(usual[owner] + generator.integers(-1, 2, len(owner)), 0, 4)
        table = pd.DataFrame({"subject": [f"{i:04d}" for i in owner], "kl": kl, "oa": (kl >= 2).astype(int)})
        names = [np.array(assign_splits(table, Folds(fold, count, val=0.0), trial)) for fold in range(count)]
        part = np.stack([split == "test" for split in names]).argmax(axis=0)
        reference = np.zeros(len(kl), dtype=int)
        folds = StratifiedGroupKFold(count, shuffle=True, random_state=trial)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class with fewer knees than folds
            for fold, (_, test) in enumerate(folds.split(kl, kl, owner)):
                reference[test] = fold
        ours.append(largest_deviation(kl, part, count))
        theirs.append(largest_deviation(kl, reference, count))
    assert (np.array(ours) <= np.array(theirs) + 1e-9).all()


def test_covariates_are_balanced_on_request() -> None:
    generator = np.random.default_rng(0)
    owner = np.repeat(np.arange(150), generator.integers(1, 3, 150))
    sex, age = generator.choice(["F", "M"], 150), generator.normal(60, 8, 150)
    kl = generator.integers(0, 5, len(owner))
    table = pd.DataFrame(
        {"subject": [f"{i:03d}" for i in owner], "kl": kl, "oa": 0, "sex": sex[owner], "age": age[owner]}
    )
    plan = SplitFractions(val=0.2, test=0.2)
    wanted = plan.shares

    def deviation(stratify: tuple[str, ...]) -> float:
        made = table.assign(split=assign_splits(table, plan, 0, stratify))
        return abs(balance_of(made, ["kl", "sex", "age"], wanted).largest.size)

    assert deviation(("kl", "sex", "age")) < 0.03
    assert deviation(("kl",)) > 2 * deviation(("kl", "sex", "age"))
    with pytest.raises(ValueError, match="expected columns of the manifest, got 'bmi'"):
        assign_splits(table, plan, 0, ("kl", "bmi"))


def test_a_rare_class_trains_and_is_in_every_part_if_it_can_be() -> None:
    for rare, parts in ((1, {"train"}), (3, {"train", "val", "test"})):
        for seed in range(5):
            kl = np.repeat([0, 1, 2, 3, 4], [40, 20, 30, 20, rare])
            table = pd.DataFrame({"subject": [f"{i:03d}" for i in range(len(kl))], "kl": kl, "oa": 0})
            split = pd.Series(assign_splits(table, SplitFractions(), seed))
            assert set(split[kl == 4]) == parts, (rare, seed)
            assert abs((split == "test").mean() - 0.15) < 0.02


def test_small_parts_keep_their_size() -> None:
    """Ten subjects cannot have every grade in 15 % of them."""
    table = pd.DataFrame({"subject": list("abcdefghij"), "kl": [0, 1, 2, 3, 4] * 2, "oa": 0})
    split = pd.Series(assign_splits(table, SplitFractions(val=0.2, test=0.2), 0))
    assert split.value_counts().to_dict() == {"train": 6, "val": 2, "test": 2}
    assert set(table["kl"][split == "train"]) == {0, 1, 2, 3, 4}


def test_a_split_of_ten_thousand_knees_is_quick() -> None:
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "subject": generator.integers(0, 5000, 10_000).astype(str),
            "kl": generator.integers(0, 5, 10_000), "oa": 0,
            "sex": generator.choice(["F", "M"], 10_000), "site": generator.choice(list("ABC"), 10_000),
        }
    )  # fmt: skip
    start = time.process_time()
    made = table.assign(split=assign_splits(table, SplitFractions(), 0, ("kl", "sex", "site")))
    assert time.process_time() - start < 5
    balance = balance_of(made, ("kl", "sex", "site"), SplitFractions().shares)
    assert abs(balance.largest.size) < 0.002
    assert balance.missing == []


def test_a_class_that_is_left_out_is_said_or_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"")
    rows = [f"k{i},s{i},a.nii.gz,{0 if i else 4}" for i in range(20)]
    (tmp_path / "manifest.csv").write_text("\n".join(["knee,subject,mri,kl", *rows]) + "\n")
    manifest = read_manifest(tmp_path)
    with caplog.at_level(logging.INFO, "oahier.data.manifest.manifest"):
        assert manifest.with_splits().subset("train").table["kl"].eq(4).any()
    assert "KL 4 not in val, KL 4 not in test" in caplog.text
    assert "20 knees: train 14 (70.0%)" in caplog.text
    with pytest.raises(ManifestError, match=r"KL 4 is left out of 'val' \(1 in all") as caught:
        manifest.with_splits(allow_missing_class=False)
    assert len(caught.value.problems) == 2
    with pytest.raises(ManifestError, match="got 'site'"):
        manifest.with_splits(stratify=("kl", "site"))


def test_ids_that_are_nearly_the_same_are_not_split(
    knees: Path, make: Callable[..., KneeMRIDataModule]
) -> None:
    """They may be one person, who would train and be tested on."""
    people = ["71", "0071", *(f"{number:04d}" for number in range(100, 118))]
    table = read_manifest(knees).table.assign(subject=people)
    manifest = Manifest.from_table(table, knees.parent)
    message = r"row 3, knee '001'.*'71', '0071'.* differ only by leading zeros.*write one id"
    with pytest.raises(ManifestError, match=message):
        manifest.with_splits()
    for splits in (["test", *["train"] * 19], ["train", "test", *["train"] * 18]):
        given = Manifest.from_table(table.assign(split=splits), knees.parent)
        with pytest.raises(ManifestError, match=message):
            given.with_validation()
    data = make(manifest, stage="predict")
    assert sum(len(batch["knee"]) for batch in data.predict_dataloader()) == 20, "nobody is split then"
    with pytest.raises(ManifestError, match=message):
        data.setup("fit")


class EveryOther(SplitPlan):
    """A plan of one's own."""

    def assign(self, strata: Strata, seed: int) -> list[str]:
        return ["train" if number % 2 else "val" for number, _ in enumerate(strata.subjects)]


def test_a_plan_of_ones_own(knees: Path) -> None:
    manifest = read_manifest(knees).with_splits(EveryOther())
    assert manifest.table.groupby("split")["subject"].nunique().to_dict() == {"train": 5, "val": 5}


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
