"""Labels that a model learns from, changed on purpose; test labels stay."""

import numpy as np
import pandas as pd
import pytest
import torch
import torchio as tio

from oahier.data import Folds, read_manifest
from oahier.data.arguments import with_given_splits
from oahier.data.joint_removal import WithoutJoint
from oahier.data.relabelling import NoisyGrades, ShuffledLabels, TwinLabels, relabelled
from oahier.data.transforms import RecordedTransform


@pytest.fixture
def manifest(tmp_path):
    generator = np.random.default_rng(0)
    rows = ["knee,subject,mri,kl,split"]
    for knee in range(300):
        (tmp_path / f"{knee}.nii.gz").touch()
        split, grade = ("train", "val", "test")[knee % 3], generator.integers(5)
        rows.append(f"k{knee},s{knee},{knee}.nii.gz,{grade},{split}")
    (tmp_path / "knees.csv").write_text("\n".join(rows) + "\n")
    return read_manifest(tmp_path / "knees.csv")


def moved(manifest, changes, column="kl", seed=0):
    before, after = manifest.table, relabelled(manifest, changes, seed).table
    assert list(after["kl"][after["split"] == "test"]) == list(before["kl"][before["split"] == "test"])
    assert list(after["oa"][after["split"] == "test"]) == list(before["oa"][before["split"] == "test"])
    assert (before.dtypes == after.dtypes).all()
    learnt = before["split"] != "test"
    return before[column][learnt].to_numpy(), after[column][learnt].to_numpy()


def test_grades_move_by_one_within_the_blocks_or_across_their_border(manifest):
    before, after = moved(manifest, {"noise": NoisyGrades(0.3)})
    assert np.abs(after - before).max() == 1
    assert ((after >= 2) == (before >= 2)).all()
    assert (after != before).mean() == pytest.approx(0.3, abs=0.08)
    before, after = moved(manifest, {"noise": NoisyGrades(0.3, across=True)})
    inner = np.isin(before, (1, 2))
    assert (after == before)[~inner].all()
    assert (after[inner] == 3 - before[inner])[after[inner] != before[inner]].all()
    assert (after != before)[inner].mean() == pytest.approx(0.3, abs=0.12)
    oa, kept = moved(manifest, {"noise": NoisyGrades(1.0, across=True)}, "oa")
    assert (oa == kept).all(), "OA is read for itself"
    with pytest.raises(ValueError, match="expected a share from 0 to 1, got 2"):
        NoisyGrades(2.0)


def test_noise_of_a_knee_is_one_in_all_folds(manifest):
    tables = []
    for fold in range(3):
        split, _ = with_given_splits(manifest, Folds(fold, 3, anew=True), 0)
        tables.append(relabelled(split, {"noise": NoisyGrades(0.5)}, 0).table)
    for one, other in ((0, 1), (1, 2)):
        both = (tables[one]["split"] != "test") & (tables[other]["split"] != "test")
        assert (tables[one]["kl"][both] == tables[other]["kl"][both]).all()
    test_knees = [set(table["knee"][table["split"] == "test"]) for table in tables]
    assert len(set.union(*test_knees)) == 300, "folds hold all knees, whatever the column said"


def test_shuffled_labels_keep_their_frequencies_only(manifest):
    before, after = moved(manifest, {"placebo": ShuffledLabels()}, "oa")
    assert sorted(before) == sorted(after)
    assert (before != after).mean() > 0.2
    before, after = moved(manifest, {"placebo": ShuffledLabels(["oa", "kl"])})
    made = relabelled(manifest, {"placebo": ShuffledLabels(["oa", "kl"])}, 0).table
    assert ((made["kl"] >= 2) == (made["oa"] == 1)).all(), "labels of one knee stay together"
    assert sorted(before) == sorted(after)
    assert (before != after).mean() > 0.5
    other = moved(manifest, {"placebo": ShuffledLabels(["oa", "kl"])}, seed=1)[1]
    assert (after != other).any()


def test_twins_share_the_grade_and_no_more(manifest):
    same = moved(manifest, {"placebo": TwinLabels()}, "oa")
    assert (same[0] == same[1]).all(), "OA follows from the grade"
    noise = {"noise": NoisyGrades(0.5, across=True)}
    noisy = relabelled(manifest, noise, 0).table
    made = relabelled(manifest, noise | {"placebo": TwinLabels()}, 0).table
    learnt = made["split"] != "test"
    assert (made["kl"] == noisy["kl"]).all()
    assert (made["oa"] != noisy["oa"])[learnt].mean() > 0.1
    counts = [table[learnt].groupby(["split", "kl"])["oa"].sum() for table in (noisy, made)]
    pd.testing.assert_series_equal(*counts)
    alone = manifest.table.head(1)
    assert TwinLabels().apply(alone, np.random.default_rng(0))["oa"].tolist() == [-1]


def test_nothing_is_left_of_the_joint():
    volume = np.random.default_rng(0).normal(5, 2, (1, 8, 8, 20)).astype(np.float32)
    labels = np.zeros((1, 8, 8, 20), dtype=np.uint8)
    labels[..., 8:12] = 2
    labels[..., 0] = 1  # bone

    def subject(scale):
        changed = volume.copy()
        changed[..., 5:15] *= scale
        return tio.Subject(
            mri=tio.ScalarImage(tensor=torch.from_numpy(changed)),
            cartilage=tio.LabelMap(tensor=torch.from_numpy(labels)),
        )

    one, other = (WithoutJoint(0.5)(subject(scale))["mri"].data for scale in (1.0, 9.0))
    assert (one == other).all(), "what lies in the joint changes nothing"
    assert (one[..., 5:15] == 0).all()
    assert float(one[..., :5].std()) == pytest.approx(1, abs=0.15)
    with pytest.raises(ValueError, match=r"50\.0% of the cartilage lies outside the blanked 0\.1 of the"):
        WithoutJoint(0.1)(subject(1.0))
    with pytest.raises(ValueError, match="share above 0 and below 1, got 1"):
        WithoutJoint(1.0)
    recorded = RecordedTransform.of(WithoutJoint(0.5))
    assert RecordedTransform.from_spec(recorded.spec) == recorded
