"""Follow-up: visits of knees, what happens after them, and pairs of visits as batches."""

import numpy as np
import pandas as pd
import pytest
import torch

from oahier.data import KneeMRIDataModule, PairedVisits, read_manifest, with_follow_up
from oahier.data.manifest.targets import is_known
from oahier.problems import ManifestError
from oahier.types import MISSING
from oahier.visits import Visits, event_months, event_within

SHAPE = {"shape": (8, 10, 12), "spacing": (2.0, 1.5, 1.0)}


def follow_up_table(some_knees, visits=3, knees=18):
    """Manifest text: subjects with both knees at several visits; files are shared images."""
    path = some_knees(knees)
    table = pd.read_csv(path, dtype=str)
    number = np.arange(knees)
    table["subject"] = [f"s{n // (2 * visits)}" for n in number]
    table["side"] = np.where(number // visits % 2, "left", "right")
    table["month"] = number % visits * 24
    table["kl"] = np.minimum(number % visits + number // (2 * visits), 4)
    table["split"] = np.where(number < 6, "train", np.where(number < 12, "val", "test"))
    return path, table


@pytest.fixture
def longitudinal(some_knees):
    path, table = follow_up_table(some_knees)

    def write(**changes):
        made = table.assign(**changes)
        made.drop(columns=[name for name, cells in changes.items() if cells is None]).to_csv(
            path, index=False
        )
        return read_manifest(path)

    return write


def paired(manifest, tmp_path, **options):
    scans = {key: options.pop(key) for key in ("augmentation", "num_workers", "seed") if key in options}
    data = KneeMRIDataModule(manifest, cache=tmp_path / "cache", batch_size=8, **SHAPE, **scans)
    return PairedVisits(data, **options)


def ready(module, stage="fit"):
    module.prepare_data()
    module.setup(stage)
    return module


def test_visits_are_by_side_of_subject_in_the_order_of_time():
    table = pd.DataFrame(
        {
            "subject": ["b", "a", "b", "a", "a", "b"],
            "side": ["left", "left", "left", "right", "left", "left"],
            "month": ["12", "0", "0", "0", "48", ""],
        }
    )
    visits = Visits.of(table)
    assert [rows.tolist() for rows in visits.courses()] == [[2, 0], [1, 4], [3]]
    assert visits.pairs().tolist() == [[2, 0], [1, 4]]
    assert Visits.of(table.iloc[:1]).pairs().shape == (0, 2)
    assert Visits.of(table.assign(month=None)).pairs().shape == (0, 2)


def test_unusable_tables_are_refused_with_their_row():
    table = pd.DataFrame({"subject": ["a", "a"], "month": [0, 12]})
    assert Visits.of(table).pairs().tolist() == [[0, 1]], "no sides: a knee a subject"
    with pytest.raises(ValueError, match="expected a column 'month', got subject, months; add the months"):
        Visits.of(table.rename(columns={"month": "months"}))
    with pytest.raises(ValueError, match=r"row 3, column 'month': expected a number of months, got 'later'"):
        Visits.of(table.assign(month=["0", "later"]))
    with pytest.raises(ValueError, match="got 'inf'"):
        Visits.of(table.assign(month=[0, np.inf]))
    with pytest.raises(ValueError, match=r"row 3: a second scan of subject 'a', side '', at month 0"):
        Visits.of(table.assign(month=0))


def test_events_follow_from_later_visits():
    month = [0, 12, 24, 48, 0, 24, 48, 0]
    visits = Visits.of(pd.DataFrame({"subject": list("aaaabbbc"), "month": month}))
    grades = np.array([1.0, 1.0, 2.0, 2.0, 3.0, np.nan, 3.0, 4.0])
    nan = np.nan
    expected = [24, 12, -24, nan, -48, nan, nan, nan]
    np.testing.assert_array_equal(event_months(visits, grades), expected)
    np.testing.assert_array_equal(event_within(visits, grades, 24), [1, 1, 0, nan, 0, nan, nan, nan])
    np.testing.assert_array_equal(event_within(visits, grades, 12), [0, 1, 0, nan, 0, nan, nan, nan])
    np.testing.assert_array_equal(event_within(visits, grades, 36), [1, 1, nan, nan, 0, nan, nan, nan])
    assert event_months(visits, grades, rise=2)[0] == -48
    risk = {"rise": 1, "highest": 3}
    np.testing.assert_array_equal(event_months(visits, grades, **risk)[[2, 4]], [-24, np.nan])
    assert np.isnan(event_within(visits, grades, 24, **risk)[4])


def test_targets_of_follow_up_are_columns(longitudinal):
    made = with_follow_up(longitudinal(), within=(24,))
    months, within = made.labels("event_months"), made.labels("event_within_24")
    assert is_known(months).tolist() == [True, True, False] * 6
    assert months[:2].tolist() == [24, 24]
    assert within.tolist()[:3] == [1, 1, MISSING]
    assert within[15:18].tolist() == [1, 1, MISSING]
    data = KneeMRIDataModule(made, targets=("event_months", "event_within_24"), **SHAPE)
    assert data.class_counts["event_within_24"] == [0, 4]
    grades = longitudinal(kl=["1", "1", "1", "1", "2", "2"] * 3)
    signed = with_follow_up(grades).labels("event_months")
    np.testing.assert_array_equal(signed[:6], [-48, -24, np.nan, 24, -24, np.nan])
    with pytest.raises(ManifestError, match="has a value at two visits"):
        with_follow_up(longitudinal(kl=""))


def test_evaluation_pairs_are_all_and_in_order(longitudinal, tmp_path):
    module = ready(paired(longitudinal(), tmp_path, steps=4), "validate")
    batches = list(module.val_dataloader())
    names = [name for batch in batches for name in batch["knee"]]
    assert names == [
        f"{a:03d}-to-{b:03d}" for s in (6, 9) for a, b in ((s, s + 1), (s, s + 2), (s + 1, s + 2))
    ]
    assert torch.cat([batch["targets"]["change"] for batch in batches]).tolist() == [5, 6, 5] * 2
    assert {subject for batch in batches for subject in batch["subject"]} == {"s1"}
    scans = {
        batch["knee"][0]: batch["mri"][0]
        for batch in module.data._loader(module.data.dataset("val"), batch_size=1)
    }
    for name, mri in zip(batches[0]["knee"], batches[0]["mri"], strict=True):
        first, second = name.split("-to-")
        assert torch.equal(mri, torch.cat([scans[first], scans[second]]))
    assert module.target_names == ("change",)
    assert module.volume_shape == (8, 10, 12)
    assert module.class_counts == {"change": [0, 0, 2, 4, 0, 4, 2, 0, 0]}


def epoch(module, number):
    loader = module.train_dataloader()
    loader.sampler.set_epoch(number)
    found = {"knee": [], "change": [], "mri": [], "seed": []}
    for batch in loader:
        found["knee"] += batch["knee"]
        found["change"] += batch["targets"]["change"].tolist()
        found["seed"] += batch["seed"].tolist()
        found["mri"].append(module.on_after_batch_transfer(batch, 0)["mri"])
    return {**found, "mri": torch.cat(found["mri"])}


def test_training_pairs_are_random_and_follow_from_seed_and_epoch(longitudinal, tmp_path):
    torch.manual_seed(7)
    module = ready(paired(longitudinal(), tmp_path))
    epochs = [epoch(module, number) for number in range(12)]
    torch.manual_seed(7)
    again = [epoch(ready(paired(longitudinal(), tmp_path)), number) for number in (0, 11)]
    for one, other in zip((epochs[0], epochs[11]), again, strict=True):
        assert one["knee"] == other["knee"]
        assert one["seed"] == other["seed"]
        assert torch.equal(one["mri"], other["mri"])
    orders = set()
    for one in epochs:
        assert len(one["knee"]) == 2, "every knee once"
        for name, change in zip(one["knee"], one["change"], strict=True):
            first, second = map(int, name.split("-to-"))
            assert first // 3 == second // 3 < 2, "one knee of a training subject"
            assert change == (2 if second > first else 0)
            orders.add((first % 3, second % 3))
    assert orders == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert not torch.equal(epochs[0]["mri"], epochs[1]["mri"])


def test_visits_are_augmented_each_by_its_seed(longitudinal, tmp_path):
    module = ready(paired(longitudinal(), tmp_path))
    batch = next(iter(module.train_dataloader()))
    assert batch["mri"].shape == (2, 2, 8, 10, 12)
    assert batch["seed"].shape == (2, 2)
    found = module.on_after_batch_transfer(batch, 0)["mri"]
    for row in range(2):
        for visit in range(2):
            one = {"mri": batch["mri"][row, visit][None, None], "affine": batch["affine"][[row]]}
            one["seed"] = batch["seed"][row, [visit]]
            expected = module.data.on_after_batch_transfer(one, 0)["mri"][0, 0]
            torch.testing.assert_close(found[row, visit], expected)
    plain = ready(paired(longitudinal(), tmp_path, augmentation=None))
    batch = next(iter(plain.train_dataloader()))
    assert torch.equal(plain.on_after_batch_transfer(batch, 0)["mri"], batch["mri"])


def test_change_of_numbers_and_unknown_labels(longitudinal, tmp_path):
    width = np.tile([4.0, 3.95, 2.0], 6)
    module = paired(longitudinal(jsw=-width), tmp_path, column="jsw", tolerance=0.1)
    assert module.class_counts == {"change": [4, 4, 4]}
    grades = ["", "1", "2"] * 2 + ["1"] * 12
    manifest = longitudinal(kl=grades)
    module = ready(paired(manifest, tmp_path))
    assert {name[:3] + name[-3:] for name in epoch(module, 0)["knee"]} <= {
        "001002",
        "002001",
        "004005",
        "005004",
    }
    assert module.dataset("train")[0]["targets"]["change"] == MISSING
    assert len(module.dataset(None)) == 18


def test_what_cannot_be_paired_is_refused(longitudinal, tmp_path):
    with pytest.raises(ManifestError, match="expected a column 'month'"):
        paired(longitudinal(month=None), tmp_path)
    with pytest.raises(ManifestError, match="has two visits with known 'month'"):
        paired(longitudinal(subject=[f"s{n}" for n in range(18)]), tmp_path)
    with pytest.raises(ManifestError, match="a second scan of subject 's0'"):
        paired(longitudinal(side=""), tmp_path)
    with pytest.raises(ValueError, match="expected steps and batch_size of 1 or more"):
        paired(longitudinal(), tmp_path, steps=0)
    module = paired(longitudinal(kl=[""] * 6 + ["1"] * 12), tmp_path)
    module.prepare_data()
    with pytest.raises(ManifestError, match="no knee of the split 'train' has two labelled visits"):
        module.setup("fit")
    module.setup("test")
