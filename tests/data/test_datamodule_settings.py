"""Arguments, splits, preprocessing and checkpoints of the data module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from oahier.data import (
    Folds,
    KneeMRIDataModule,
    Manifest,
    ManifestError,
    SplitFractions,
    read_manifest,
)

SHAPE = (8, 10, 12)
SPACING = (2.0, 1.5, 1.0)


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
        (
            {"shape": (7, 64, 2)},
            r"shape: expected 8 or more voxels along two axes at least, got \(7, 64, 2\)",
        ),
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


def test_it_says_what_it_holds(make: Callable[..., KneeMRIDataModule]) -> None:
    assert repr(make(stage=None)) == "KneeMRIDataModule(20 knees, (8, 10, 12), ('oa', 'kl'))"


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
