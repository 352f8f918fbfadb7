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
from jsonargparse import ArgumentParser

from oahier.data import (
    AugmentationRanges,
    BatchAugmentation,
    Folds,
    KneeMRIDataModule,
    Manifest,
    ManifestError,
    SplitFractions,
    TorchIOAugmentation,
    read_manifest,
)
from oahier.types import MISSING, Batch

SHAPE = (8, 10, 12)
SPACING = (2.0, 1.5, 1.0)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make(knees: Path, cache: Path) -> Callable[..., KneeMRIDataModule]:
    def build(manifest: Any = knees, stage: str | None = "fit", **options: Any) -> KneeMRIDataModule:
        options = {"shape": SHAPE, "spacing": SPACING, "cache": cache, "batch_size": 3, **options}
        data = KneeMRIDataModule(manifest, **options)
        if stage is not None:
            data.prepare_data()
            data.setup(stage)
        return data

    return build


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


def test_given_splits_are_respected(make: Callable[..., KneeMRIDataModule], knees: Path) -> None:
    manifest = read_manifest(knees)
    given = manifest.with_splits(SplitFractions(val=0.3, test=0.3), seed=5)
    data = make(given, stage=None)
    assert data.manifest.table["split"].tolist() == given.table["split"].tolist()
    with pytest.raises(ManifestError, match="the column is respected"):
        make(given, stage=None, split=Folds(0))
    two = manifest.with_splits(SplitFractions(val=0.0, test=0.3), seed=5)
    assert make(two).val_dataloader() == []
    carved = make(two, stage=None, split=SplitFractions(val=0.2)).manifest
    assert len(carved.subset("val")) > 0
    assert carved.subset("test").table["knee"].tolist() == two.subset("test").table["knee"].tolist()


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


def test_the_spacing_comes_from_the_training_scans(make: Callable[..., KneeMRIDataModule]) -> None:
    data = make(spacing=None, shape=(12, 16, 20))
    assert data.spacing == (2.0, 1.5, 1.0)
    spacing = np.linalg.norm(next(iter(data.predict_dataloader()))["affine"][0, :3, :3].numpy(), axis=0)
    np.testing.assert_allclose(spacing, data.spacing)


def test_the_cache_folder_can_come_from_the_environment(
    knees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OAHIER_CACHE", str(tmp_path / "elsewhere"))
    KneeMRIDataModule(knees, SHAPE).prepare_data()
    assert len(list((tmp_path / "elsewhere").rglob("*.knee"))) == 20
    monkeypatch.delenv("OAHIER_CACHE")
    KneeMRIDataModule(knees, SHAPE).prepare_data()
    assert len(list((knees.parent / ".oahier-cache").rglob("*.knee"))) == 20


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("spacing", [3.0, 1.5, 1.0], r"spacing=\[3.0, 1.5, 1.0\], the data module has \[2.0, 1.5, 1.0\]"),
        ("shape", [8, 10, 14], r"shape=\[8, 10, 14\], the data module has \[8, 10, 12\]"),
        ("mirror_left", True, "mirror_left=True, the data module has False"),
        ("bias_correction", True, "bias_correction=True, the data module has False"),
    ],
)
def test_a_checkpoint_of_other_voxels_warns(
    make: Callable[..., KneeMRIDataModule], name: str, value: Any, message: str
) -> None:
    data = make()
    state = data.state_dict()
    data.load_state_dict(state)
    other = {**state["preprocessing"], name: value}
    with pytest.warns(UserWarning, match=f"the checkpoint was trained with {message}"):
        data.load_state_dict({**state, "preprocessing": other})


def test_a_checkpoint_of_the_test_knees_warns(make: Callable[..., KneeMRIDataModule]) -> None:
    state = make().state_dict()
    with pytest.warns(UserWarning, match="test knees trained the checkpoint, for example"):
        make(seed=1).load_state_dict(state)


def test_a_checkpoint_from_before_preprocessing_had_a_record(make: Callable[..., KneeMRIDataModule]) -> None:
    data = make()
    old = {"shape": [8, 10, 12], "spacing": [2.0, 1.5, 1.0], "splits": data.state_dict()["splits"]}
    data.load_state_dict(old)
    with pytest.warns(UserWarning, match="trained with spacing="):
        data.load_state_dict({**old, "spacing": [2.0, 1.5, 1.1]})


def test_left_knees_are_mirrored_and_right_ones_are_not(
    make: Callable[..., KneeMRIDataModule], knees: Path
) -> None:
    manifest = read_manifest(knees)
    sides = ["left" if index % 2 else "right" for index in range(20)]
    sided = Manifest.from_table(manifest.table.assign(side=sides), manifest.root)

    def volumes(**options: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        (batch,) = make(sided, stage="predict", batch_size=20, **options).predict_dataloader()
        return batch["mri"], batch["cartilage"], batch["affine"]

    plain, mirrored = volumes(), volumes(mirror_left=True)
    for index, side in enumerate(sides):
        for one, other in zip(plain[:2], mirrored[:2], strict=True):
            expected = one[index].flip(1) if side == "left" else one[index]
            assert torch.equal(other[index], expected)
        assert (torch.linalg.det(mirrored[2][index]) < 0) == (side == "left")
    (tmp,) = {
        path.parent.parent for path in make(sided, mirror_left=True).knee_cache.folder.glob("??/*.knee")
    }
    assert len(list(tmp.glob("??/*.knee"))) >= 30  # right knees are shared by both


def test_mirroring_needs_every_side(make: Callable[..., KneeMRIDataModule], knees: Path) -> None:
    manifest = read_manifest(knees)
    sides = ["left"] * 18 + ["", "right"]
    sided = Manifest.from_table(manifest.table.assign(side=sides), manifest.root)
    with pytest.raises(ManifestError, match=r"row 20, knee '018', column 'side': mirror_left=True needs"):
        make(sided, mirror_left=True)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"shape": (8, 0, 8)}, r"shape: expected three whole numbers of voxels above 0, got \(8, 0, 8\)"),
        ({"spacing": (1.0, -1.0, 1.0)}, "spacing: expected three lengths in mm above 0"),
        ({"batch_size": 0}, "batch_size: expected 1 or more knees, got 0"),
        ({"num_workers": -1}, "num_workers: expected 0 or more processes, got -1"),
        ({"targets": []}, "targets: expected a list of columns"),
    ],
)
def test_arguments_out_of_range(
    make: Callable[..., KneeMRIDataModule], argument: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(stage=None, **argument)


def test_loaders_before_setup(make: Callable[..., KneeMRIDataModule]) -> None:
    with pytest.raises(RuntimeError, match=r"call prepare_data\(\) and setup\(stage\) before"):
        make(stage=None).train_dataloader()


def test_empty_splits(make: Callable[..., KneeMRIDataModule], knees: Path) -> None:
    manifest = read_manifest(knees)
    tests = Manifest.from_table(manifest.table.assign(split="test"), manifest.root)
    assert len(list(make(tests, stage="test").test_dataloader())) == 7
    with pytest.raises(ManifestError, match="no knee is in the split 'train', which `fit` needs"):
        make(tests, stage="fit")


def test_the_configuration_file_can_say_everything(knees: Path, cache: Path) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(KneeMRIDataModule, "data")
    text = f"""
data:
  manifest: {knees}
  shape: [8, 10, 12]
  spacing: [2.0, 1.5, 1.0]
  split: {{class_path: oahier.data.Folds, init_args: {{test: 2, count: 4}}}}
  augmentation: {{class_path: oahier.data.BatchAugmentation, init_args: {{ranges: {{degrees: 2.0}}}}}}
  targets: [oa]
  cache: {cache}
"""
    config = parser.parse_string(text)
    again = parser.parse_string(parser.dump(config))
    data = parser.instantiate(again).data
    assert data.volume_shape == SHAPE
    expected = read_manifest(knees).with_splits(Folds(2, count=4), 0)
    assert data.manifest.table["split"].tolist() == expected.table["split"].tolist()
    data.setup("fit")
    assert sorted(next(iter(data.train_dataloader()))["targets"]) == ["oa"]
    words = [
        f"--data.manifest={knees}",
        "--data.shape=[8,10,12]",
        "--data.split=Folds",
        "--data.split.test=1",
    ]
    folded = parser.instantiate(parser.parse_args(words)).data
    assert folded.manifest.table["split"].tolist() != data.manifest.table["split"].tolist()
