from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import torchio as tio

from oahier.data import (
    AugmentationRanges,
    BatchAugmentation,
    KneeMRIDataModule,
    Manifest,
    ManifestError,
    TorchIOAugmentation,
    read_manifest,
)
from oahier.types import MISSING, Batch

SHAPE = (8, 10, 12)
SPACING = (2.0, 1.5, 1.0)


def epoch(data: KneeMRIDataModule) -> list[Batch]:
    return as_trained(data, data.train_dataloader())


def as_trained(data: KneeMRIDataModule, batches: Iterable[Batch]) -> list[Batch]:
    """What a trainer makes of batches: they are augmented once they are on the device."""
    return [data.on_after_batch_transfer(batch, 0) for batch in batches]


def test_batches_are_as_agreed(make: Callable[..., KneeMRIDataModule]) -> None:
    data = make()
    assert data.volume_shape == SHAPE
    assert data.target_names == ("oa", "kl")
    assert sum(data.class_counts["kl"]) == len(data.manifest.subset("train"))
    batch = next(iter(data.train_dataloader()))
    assert batch["mri"].shape == (3, 1, *SHAPE)
    assert batch["mri"].dtype == torch.float32
    assert batch["cartilage"].shape == (3, 1, *SHAPE)
    assert batch["cartilage"].dtype == torch.uint8
    assert set(batch["cartilage"].unique().tolist()) == {0, 2}
    assert batch["affine"].shape == (3, 4, 4)
    assert batch["affine"].dtype == torch.float64
    table = data.manifest.table.set_index("knee")
    for i, knee in enumerate(batch["knee"]):
        assert batch["subject"][i] == table.at[knee, "subject"]
        assert batch["targets"]["kl"][i] == table.at[knee, "kl"]
        assert batch["targets"]["oa"][i] == int(table.at[knee, "kl"] >= 2)
    assert batch["targets"]["kl"].dtype == torch.int64


def test_splits_are_disjoint_by_subject_and_predict_sees_all(make: Callable[..., KneeMRIDataModule]) -> None:
    data = make(batch_size=4)
    loaders = [data.train_dataloader(), data.val_dataloader(), data.test_dataloader()]
    subjects = [{name for batch in loader for name in batch["subject"]} for loader in loaders]
    assert len(set.union(*subjects)) == sum(len(names) for names in subjects)
    everyone = [knee for batch in data.predict_dataloader() for knee in batch["knee"]]
    assert everyone == data.manifest.table["knee"].tolist()


def test_only_training_volumes_are_augmented(make: Callable[..., KneeMRIDataModule]) -> None:
    plain = {
        knee: volume
        for batch in epoch(make(augmentation=None))
        for knee, volume in zip(batch["knee"], batch["mri"], strict=True)
    }
    data = make()
    moved = {
        knee: volume
        for batch in epoch(data)
        for knee, volume in zip(batch["knee"], batch["mri"], strict=True)
    }
    assert all(not torch.equal(moved[knee], plain[knee]) for knee in moved)
    for loader in (data.val_dataloader, data.test_dataloader, data.predict_dataloader):
        first, second = list(loader()), list(loader())
        assert all(torch.equal(a["mri"], b["mri"]) for a, b in zip(first, second, strict=True))
    whole = {
        knee: volume
        for batch in data.predict_dataloader()
        for knee, volume in zip(batch["knee"], batch["mri"], strict=True)
    }
    assert all(torch.equal(whole[knee], plain[knee]) for knee in plain)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("augmentation", ["mild", TorchIOAugmentation()], ids=["device", "torchio"])
def test_runs_repeat_and_epochs_differ(
    make: Callable[..., KneeMRIDataModule], augmentation: Any, workers: int
) -> None:
    def run(seed: int) -> list[list[Batch]]:
        L.seed_everything(seed, verbose=False)
        data = make(num_workers=workers, augmentation=augmentation)
        loader = data.train_dataloader()
        return [as_trained(data, loader) for _ in range(2)]

    one, again, other = run(0), run(0), run(1)
    for first, second in zip(one, again, strict=True):
        for a, b in zip(first, second, strict=True):
            assert a["knee"] == b["knee"]
            assert torch.equal(a["mri"], b["mri"])
    order = [[batch["knee"] for batch in batches] for batches in (*one, *other)]
    assert order[0] != order[1]
    assert order[0] != order[2]
    values = [
        {k: v for batch in batches for k, v in zip(batch["knee"], batch["mri"], strict=True)}
        for batches in one
    ]
    assert not any(
        torch.equal(values[0][knee], values[1][knee]) for knee in values[0].keys() & values[1].keys()
    )


def test_loading_leaves_the_random_state_alone(make: Callable[..., KneeMRIDataModule]) -> None:
    data = make(balanced=True)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    epoch(data)
    list(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002


class _Draws:
    """Writes one draw of each random generator into the volume."""

    def __call__(self, subject: tio.Subject) -> tio.Subject:
        data = subject["mri"].data.clone()
        data[0, 0, 0, :3] = torch.tensor([float(torch.rand(())), np.random.rand(), random.random()])  # noqa: NPY002
        subject["mri"].set_data(data)
        return subject


def test_workers_have_streams_of_their_own(make: Callable[..., KneeMRIDataModule]) -> None:
    data = make(augmentation=_Draws(), num_workers=2, batch_size=1)
    draws = np.array([batch["mri"][0, 0, 0, 0, :3].numpy() for batch in epoch(data)])
    assert len(draws) > 6
    for column in draws.T:
        assert len(np.unique(column)) == len(draws)


def test_balanced_sampling(make: Callable[..., KneeMRIDataModule], knees: Path) -> None:
    manifest = read_manifest(knees)
    table = manifest.table.assign(split="train", kl=[0] * 16 + [4] * 4, oa=[0] * 16 + [1] * 4)
    data = make(Manifest.from_table(table, manifest.root), balanced=True, augmentation=None, batch_size=20)
    loader = data.train_dataloader()
    grades = torch.cat([batch["targets"]["kl"] for _ in range(20) for batch in loader])
    assert (grades == 4).float().mean() == pytest.approx(0.5, abs=0.08)
    unlabelled = Manifest.from_table(table.assign(kl=MISSING, oa=MISSING), manifest.root)
    with pytest.raises(ManifestError, match="balanced=True needs KL or OA labels"):
        make(unlabelled, balanced=True).train_dataloader()


def test_a_last_batch_of_one_is_left_out_of_training(
    make: Callable[..., KneeMRIDataModule], knees: Path
) -> None:
    manifest = read_manifest(knees)
    split = ["train"] * 7 + ["val"] * 4 + ["test"] * 9
    table = manifest.table.assign(split=split, subject=manifest.table["knee"])
    data = make(Manifest.from_table(table, manifest.root), batch_size=3)
    assert [len(batch["knee"]) for batch in epoch(data)] == [3, 3]
    assert [len(batch["knee"]) for batch in data.val_dataloader()] == [3, 1]
    assert [len(batch["knee"]) for batch in epoch(make(data.manifest, batch_size=2))] == [2, 2, 2]
    assert [len(batch["knee"]) for batch in epoch(make(data.manifest, batch_size=5))] == [5, 2]


def test_ungraded_knees_can_be_predicted(
    make: Callable[..., KneeMRIDataModule], some_knees: Callable[..., Path], tmp_path: Path
) -> None:
    path = some_knees(1, cartilage=False)
    path.write_text("knee,subject,mri\n000,1,000.nii.gz\n")
    data = make(path, stage="predict", cache=tmp_path / "cache")
    (batch,) = data.predict_dataloader()
    assert batch["targets"]["kl"].tolist() == [MISSING]
    assert "cartilage" not in batch
    assert data.target_names == ("oa", "kl")
    for stage in ("fit", "test"):
        with pytest.raises(ManifestError, match="at least 3 subjects"):
            data.setup(stage)


def test_label_maps_of_some_knees_only(
    make: Callable[..., KneeMRIDataModule], some_knees: Callable[..., Path], tmp_path: Path
) -> None:
    path = some_knees(6)
    path.write_text(path.read_text().replace("004-labels.nii.gz", ""))
    data = make(
        path, cache=tmp_path / "cache", augmentation=BatchAugmentation(AugmentationRanges(degrees=3.0))
    )
    for loader in (data.train_dataloader(), data.predict_dataloader()):
        for batch in loader:
            for knee, labels in zip(batch["knee"], batch["cartilage"], strict=True):
                assert bool(labels.any()) == (knee != "004")


def test_missing_and_further_targets(make: Callable[..., KneeMRIDataModule], knees: Path) -> None:
    manifest = read_manifest(knees)
    table = manifest.table.assign(
        kl=MISSING, oa=MISSING, bml=[str(i % 3) if i % 4 else "" for i in range(20)]
    )
    data = make(Manifest.from_table(table, manifest.root), targets=["kl", "bml"], augmentation=None)
    assert data.target_names == ("bml",)
    batch = next(iter(data.predict_dataloader()))
    assert batch["targets"]["bml"].tolist() == [MISSING, 1, 2]
    assert batch["targets"]["kl"].tolist() == [MISSING] * 3
    with pytest.raises(ManifestError, match="missing target column 'effusion'"):
        make(stage=None, targets=["effusion"])
