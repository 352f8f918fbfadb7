"""TorchIO around the knees: any deterministic transform as preprocessing, any random one as augmentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import torchio as tio
from jsonargparse import ArgumentParser

from oahier.data import KneeMRIDataModule, Preprocessing, read_manifest
from oahier.data.transforms import RecordedTransform

SHAPE, SPACING = (8, 10, 12), (2.0, 1.5, 1.0)


class Scaled(tio.Transform):
    """A user's own transform, which keeps its argument."""

    def __init__(self, factor: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        subject["mri"].set_data(subject["mri"].data * self.factor)
        return subject


class Forgetful(Scaled):
    def __init__(self, offset: float = 2.0) -> None:
        super().__init__(factor=offset)


def negative(values: torch.Tensor) -> torch.Tensor:
    return -values


def volumes(data: KneeMRIDataModule) -> dict[str, torch.Tensor]:
    loader = data.predict_dataloader()
    return {knee: mri for batch in loader for knee, mri in zip(batch["knee"], batch["mri"], strict=True)}


@pytest.mark.parametrize(
    "transform",
    [
        tio.Compose([tio.Resample((2.5, 2.0, 1.5)), tio.CropOrPad(SHAPE), tio.ZNormalization()]),
        tio.Compose([tio.CropOrPad(SHAPE), tio.RescaleIntensity((0, 1), percentiles=(1, 99))]),
        tio.Compose([tio.CropOrPad(SHAPE, mask_name="cartilage"), tio.Clamp(-1, 5), Scaled(factor=3.0)]),
        tio.Compose(
            {"fit": tio.CropOrPad(SHAPE), "fun": tio.Lambda(negative, types_to_apply=[tio.INTENSITY])}
        ),
    ],
    ids=["resample", "rescale", "mask", "functions"],
)
def test_the_batch_holds_what_torchio_gives(
    make: Callable[..., KneeMRIDataModule], knees: Path, transform: tio.Transform
) -> None:
    data = make(stage="predict", spacing=None, preprocessing=transform)
    batch = next(iter(data.predict_dataloader()))
    for row, knee in enumerate(batch["knee"]):
        subject = tio.Subject(
            mri=tio.ScalarImage(knees.parent / f"{knee}.nii.gz"),
            cartilage=tio.LabelMap(knees.parent / f"{knee}-labels.nii.gz"),
        )
        expected = transform(tio.ToCanonical()(subject))
        assert torch.equal(batch["mri"][row], expected.mri.data.float())
        assert torch.equal(batch["cartilage"][row], expected.cartilage.data.to(torch.uint8))
        np.testing.assert_allclose(batch["affine"][row], expected.mri.affine, atol=1e-6)


def test_what_has_another_grid_is_resampled_like_the_builtin(make: Callable[..., KneeMRIDataModule]) -> None:
    """A linear change of intensities commutes with resampling and z-scoring."""
    plain = volumes(make(stage="predict", shape=(6, 8, 9), spacing=(3.0, 2.5, 2.0)))
    scaled = volumes(
        make(stage="predict", shape=(6, 8, 9), spacing=(3.0, 2.5, 2.0), preprocessing=Scaled(factor=50.0))
    )
    for knee, values in scaled.items():
        normal = (values - values.mean()) / values.std(correction=0)
        torch.testing.assert_close(normal, plain[knee], atol=4e-3, rtol=0)
        assert values.std() > 10


def test_another_grid_without_a_spacing_is_refused(make: Callable[..., KneeMRIDataModule]) -> None:
    with pytest.raises(
        ValueError, match=r"expected \(8, 10, 12\) voxels, got \(12, 16, 20\); end the transform"
    ):
        make(stage="predict", spacing=None, preprocessing=tio.ZNormalization())


def test_mirroring_comes_last(make: Callable[..., KneeMRIDataModule], knees: Path) -> None:
    table = read_manifest(knees).table.assign(side="left")
    sided = read_manifest(knees).from_table(table, knees.parent)
    transform = tio.Compose([tio.CropOrPad(SHAPE), tio.RescaleIntensity((0, 1))])
    plain, mirrored = (
        volumes(make(sided, stage="predict", spacing=None, preprocessing=transform, mirror_left=mirror))
        for mirror in (False, True)
    )
    assert all(torch.equal(mirrored[knee], plain[knee].flip(1)) for knee in plain)


def test_every_change_of_a_parameter_gives_another_entry(
    make: Callable[..., KneeMRIDataModule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entries(transform: tio.Transform) -> set[Path]:
        data = make(stage="predict", cache=tmp_path, preprocessing=transform)
        return set(data.knee_cache.plan(data.manifest, data.preprocessing).entries)

    landmarks = np.linspace(0, 100, 13)
    transforms = [
        tio.ZNormalization(), tio.ZNormalization(masking_method=tio.ZNormalization.mean),
        tio.ZNormalization(masking_method="cartilage"), tio.RescaleIntensity((0, 1)),
        tio.RescaleIntensity((0, 2)), Scaled(), Scaled(factor=3.0),
        tio.HistogramStandardization({"mri": landmarks}),
        tio.HistogramStandardization({"mri": landmarks + 1}),
    ]  # fmt: skip
    found = [entries(transform) for transform in transforms]
    assert len(set().union(*found)) == 20 * len(transforms)
    assert entries(tio.RescaleIntensity((0, 1))) == found[3]
    assert entries(Scaled(factor=2.0)) == found[5]
    monkeypatch.setattr("inspect.getsource", lambda code: "the code was changed")
    assert not entries(Scaled()) & found[5]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (tio.RandomNoise(), "RandomNoise is random, but preprocessing runs once.*give it as `augmentation`"),
        (tio.Compose([tio.CropOrPad(8), tio.OneOf([tio.RandomBlur()])]), "OneOf is random"),
        (tio.ZNormalization(p=0.5), "ZNormalization is random"),
        (tio.CropOrPad(8, location="random"), "CropOrPad is random"),
        (tio.Lambda(lambda values: values), "Lambda, function: <function.*cannot be recorded"),
        (Forgetful(), "Forgetful does not keep its argument 'offset'; store it as `self.offset`"),
        (tio.Resample(Path(__file__)), "Resample, target: .*cannot be recorded"),
        (tio.Resample(str(Path(__file__))), "Resample, target: expected values, got a file"),
        (abs, "expected a TorchIO transform, got <built-in function abs>"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, tio.Transform) else "",
)
def test_what_cannot_be_preprocessing(
    make: Callable[..., KneeMRIDataModule], transform: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(stage=None, preprocessing=transform)


def test_a_transform_that_fails_names_the_knee(make: Callable[..., KneeMRIDataModule]) -> None:
    with pytest.raises(
        ValueError, match=r"row 2, knee '000'.*preprocessing by Compose failed: .*no_such_mask"
    ):
        make(stage="predict", preprocessing=tio.Compose([tio.ZNormalization(masking_method="no_such_mask")]))


@pytest.mark.parametrize(
    "transform",
    [
        tio.ZNormalization(masking_method=tio.ZNormalization.mean),
        tio.HistogramStandardization({"mri": np.linspace(0, 100, 13) ** 1.1}),
        tio.Compose(
            [tio.Resample(0.7), tio.CropOrPad((8, 9, 10)), tio.RescaleIntensity((0, 1), (0.5, 99.5))]
        ),
        tio.RemapLabels({1: 2, 3: 0}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_transform_comes_back_from_its_serial_form(transform: tio.Transform) -> None:
    settings = Preprocessing(SHAPE, SPACING, transform=RecordedTransform.of(transform))
    plain = torch.load(_saved(settings.as_dict()), weights_only=True)
    again = Preprocessing.from_dict(plain)
    assert again == settings
    assert again.transform is not None
    assert type(again.transform.transform) is type(transform)


def _saved(values: object) -> Any:
    import io

    stream = io.BytesIO()
    torch.save(values, stream)
    stream.seek(0)
    return stream


def test_functions_of_a_user_are_not_rebuilt() -> None:
    spec = RecordedTransform.of(tio.Lambda(negative)).spec
    with pytest.raises(ValueError, match=r"the function .*negative of the user's cannot be rebuilt"):
        RecordedTransform.from_spec(spec)
    with pytest.raises(ValueError, match=r"'torch.nn.modules.linear.Linear' is no TorchIO transform"):
        RecordedTransform.from_spec({"class_path": "torch.nn.modules.linear.Linear"})


def test_a_checkpoint_knows_the_transform(make: Callable[..., KneeMRIDataModule]) -> None:
    data = make(preprocessing=tio.ZNormalization())
    state = data.state_dict()
    data.load_state_dict(state)
    with pytest.warns(
        UserWarning, match=r"trained with transform=.*ZNormalization.*, the data module has None"
    ):
        make().load_state_dict(state)
    with pytest.warns(UserWarning, match="trained with transform=None, the data module has"):
        data.load_state_dict(make().state_dict())


def test_the_configuration_file_can_name_transforms(knees: Path, cache: Path) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(KneeMRIDataModule, "data")
    text = f"""
data:
  manifest: {knees}
  shape: [8, 10, 12]
  cache: {cache}
  preprocessing:
    class_path: torchio.transforms.Compose
    init_args:
      transforms:
        - class_path: torchio.transforms.CropOrPad
          init_args: {{target_shape: [8, 10, 12]}}
        - class_path: torchio.transforms.ZNormalization
  augmentation: {{class_path: torchio.transforms.RandomNoise, init_args: {{std: 0.5}}}}
"""
    config = parser.parse_string(text)
    data = parser.instantiate(parser.parse_string(parser.dump(config))).data
    data.setup("fit")
    assert next(iter(data.train_dataloader()))["mri"].shape[2:] == SHAPE
    transforms = data.preprocessing.as_dict()["transform"]["init_args"]["transforms"]
    assert [one["class_path"] for one in transforms] == ["torchio.CropOrPad", "torchio.ZNormalization"]


AUGMENTATION = tio.Compose(
    [tio.RandomAffine(), tio.RandomBiasField(), tio.OneOf([tio.RandomNoise(), tio.RandomBlur()], p=0.8)]
)


def test_draws_follow_from_seed_and_epoch_alone(make: Callable[..., KneeMRIDataModule]) -> None:
    """Whatever the number of processes, and in a resumed run: bit by bit."""

    def epochs(workers: int, first: int = 0) -> list[dict[str, torch.Tensor]]:
        torch.manual_seed(3)
        data = make(augmentation=AUGMENTATION, num_workers=workers)
        loader = data.train_dataloader()
        found = []
        for epoch in range(first, 3):
            loader.sampler.set_epoch(epoch)
            torch.rand(first + 1)  # somebody else draws
            found.append(
                {knee: mri for batch in loader for knee, mri in zip(batch["knee"], batch["mri"], strict=True)}
            )
        return found

    alone, together, resumed = epochs(0), epochs(2), epochs(0, first=2)
    for one, other in zip((*alone, alone[2]), (*together, *resumed), strict=True):
        assert list(one) == list(other)
        assert all(torch.equal(one[knee], other[knee]) for knee in one)
    knee = next(iter(alone[0]))
    assert not torch.equal(alone[0][knee], alone[1][knee])


def test_subjects_are_handed_out(make: Callable[..., KneeMRIDataModule], knees: Path) -> None:
    data = make()
    batch = next(iter(data.val_dataloader()))
    subjects = data.subjects("val")
    assert isinstance(subjects, tio.SubjectsDataset)
    for row, subject in enumerate(list(subjects)[: len(batch["knee"])]):
        assert (subject["knee"], subject["subject"]) == (batch["knee"][row], batch["subject"][row])
        assert (subject["kl"], subject["oa"], subject["split"]) == (
            batch["targets"]["kl"][row], batch["targets"]["oa"][row], "val",
        )  # fmt: skip
        assert isinstance(subject["cartilage"], tio.LabelMap)
        assert torch.equal(subject["mri"].data, batch["mri"][row])
        assert torch.equal(subject["cartilage"].data, batch["cartilage"][row])
        np.testing.assert_array_equal(subject["mri"].affine, batch["affine"][row])
    changed = tio.Compose([tio.RandomFlip(0, flip_probability=1), tio.RescaleIntensity((0, 1))])(
        data.subject("003")
    )
    assert [type(one).__name__ for one in changed.get_applied_transforms()] == ["Flip", "RescaleIntensity"]
    assert changed.spatial_shape == SHAPE
    assert len(data.subjects()) == 20
    with pytest.raises(KeyError, match="no knee '999'"):
        data.subject("999")
    with pytest.raises(RuntimeError, match=r"call prepare_data\(\) and setup\(stage\) before"):
        make(stage=None).subject("003")


def test_subjects_can_be_drawn(make: Callable[..., KneeMRIDataModule], tmp_path: Path) -> None:
    make().subject("001").plot(show=False, output_path=tmp_path / "knee.png")
    assert (tmp_path / "knee.png").stat().st_size > 1000


def users_subjects(folder: Path, *, in_memory: bool) -> list[tio.Subject]:
    manifest = read_manifest(folder)
    found = []
    for row in manifest.table.itertuples():
        image = tio.ScalarImage(folder.parent / row.mri)
        labels = tio.LabelMap(folder.parent / row.cartilage)
        facts = {"person": row.subject, "knee": row.knee, "grade": int(row.kl), "age": 60.5 + row.Index}
        found.append(tio.Subject(t1=image, cartilage=labels, **facts))
        if in_memory:
            found[-1].load()
    return found


KEYS = {"mri": "t1", "subject": "person", "kl": "grade"}


@pytest.mark.parametrize("in_memory", [False, True])
def test_subjects_are_taken_in(
    make: Callable[..., KneeMRIDataModule], knees: Path, cache: Path, tmp_path: Path, in_memory: bool
) -> None:
    subjects = tio.SubjectsDataset(users_subjects(knees, in_memory=in_memory))
    data = KneeMRIDataModule.from_subjects(
        subjects, columns=KEYS, folder=tmp_path if in_memory else None, shape=SHAPE, spacing=SPACING,
        cache=cache, targets=["kl", "age"],
    )  # fmt: skip
    data.setup("fit")
    expected = make()
    table = data.manifest.table
    assert table["split"].tolist() == expected.manifest.table["split"].tolist()
    assert table.groupby("subject")["split"].nunique().max() == 1
    assert table[["kl", "oa"]].equals(expected.manifest.table[["kl", "oa"]])
    for one, other in zip(data.val_dataloader(), expected.val_dataloader(), strict=True):
        assert torch.equal(one["mri"], other["mri"])
        assert torch.equal(one["cartilage"], other["cartilage"])
        assert one["targets"]["age"].dtype == torch.float32
    assert len(list(tmp_path.rglob("*.nii.gz"))) == (40 if in_memory else 0)


def test_subjects_that_cannot_be_taken_in(knees: Path, tmp_path: Path) -> None:
    subjects = users_subjects(knees, in_memory=True)
    with pytest.raises(
        ValueError, match=r"number 0 has no 'subject' for the column 'subject'; it has t1, cart"
    ):
        KneeMRIDataModule.from_subjects(subjects, shape=SHAPE)
    with pytest.raises(ValueError, match="image 'mri' of knee '000' is in memory; give a folder"):
        KneeMRIDataModule.from_subjects(subjects, columns=KEYS, shape=SHAPE)
    with pytest.raises(ValueError, match="the dataset has a transform; give the data module"):
        KneeMRIDataModule.from_subjects(
            tio.SubjectsDataset(subjects, tio.RandomFlip()), columns=KEYS, shape=SHAPE
        )
    with pytest.raises(ValueError, match="subjects: expected at least one, got none"):
        KneeMRIDataModule.from_subjects([], shape=SHAPE)
    subjects[0]["knee"] = "../000"
    with pytest.raises(ValueError, match=r"the knee '\.\./000' cannot be a file name"):
        KneeMRIDataModule.from_subjects(subjects, columns=KEYS, folder=tmp_path / "in", shape=SHAPE)
    assert nib.load(knees.parent / "000.nii.gz").shape == (12, 16, 20)
