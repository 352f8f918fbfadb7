"""Signal maps of phantoms, single causes and planted shortcuts."""

import nibabel
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, distance_transform_edt

from oahier.phantom import (
    CAUSES,
    Anatomy,
    CoilGain,
    CornerMark,
    Disease,
    NarrowField,
    Scan,
    make_phantoms,
    phantom_knee,
    signal_region,
)
from oahier.phantom.knee import _axes, _joint
from oahier.phantom.tissues import soft_tissues

SMALL = {"shape": (16, 24, 24)}
SHORTCUTS = [CornerMark(), CoilGain(), NarrowField()]


def drawn(number):
    anatomy = Anatomy.draw(np.random.default_rng(number), np.random.default_rng(number + 1))
    return {"anatomy": anatomy, "scan": Scan.draw(np.random.default_rng(number + 2)), **SMALL}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("shortcut", [None, CornerMark()])
def test_the_map_is_exactly_the_difference_to_the_healthy_knee(side, shortcut):
    arguments = {**drawn(0), "side": side}
    healthy = phantom_knee(0.0, **arguments)
    knee = phantom_knee(0.7, **arguments, shortcut=shortcut)
    assert np.array_equal(knee.signal_map(), knee.mri - healthy.mri)
    assert np.array_equal(knee.healthy().mri, healthy.mri)
    assert np.array_equal(knee.healthy().label_map, healthy.label_map)
    unchanged = knee.signal_map() == 0
    assert 0.2 < unchanged.mean() < 1
    assert np.array_equal(knee.mri[unchanged], healthy.mri[unchanged])


def test_nothing_differs_at_severity_0():
    healthy = phantom_knee(0.0, **drawn(3))
    for cause in (None, "shortcut", *CAUSES):
        assert not healthy.signal_map(cause).any()


def test_a_cause_alone_is_the_knee_that_has_only_this_cause():
    for cause in CAUSES:
        alone = phantom_knee(0.9, **drawn(1), causes=[cause])
        everything = phantom_knee(0.9, **drawn(1))
        assert alone.causes == (cause,)
        assert alone.signal_map().any()
        assert np.array_equal(alone.signal_map(cause), alone.signal_map())
        assert np.array_equal(everything.signal_map(cause), alone.signal_map())
        assert not any(alone.signal_map(other).any() for other in CAUSES if other != cause)


def test_no_cause_is_health_and_all_causes_are_the_disease():
    without, healthy = phantom_knee(1.0, **SMALL, causes=[]), phantom_knee(0.0, **SMALL)
    assert np.array_equal(without.mri, healthy.mri)
    assert np.array_equal(phantom_knee(1.0, **SMALL, causes=list(CAUSES)).mri, phantom_knee(1.0, **SMALL).mri)


def test_unknown_causes_are_refused():
    with pytest.raises(ValueError, match=r"causes: expected some of cartilage.*got pain"):
        phantom_knee(0.5, causes=["pain"], **SMALL)
    with pytest.raises(ValueError, match="got pain"):
        phantom_knee(0.5, **SMALL).signal_map("pain")


def tissue_of(cause, knee):
    """Where a cause belongs, from the label maps and the layer of fluid; 6-8 mm for what covers a bone."""
    healthy, step = knee.healthy(), np.diag(knee.affine)[:3]
    cartilage, bone = (np.isin(healthy.label_map, ids) for ids in ((2, 4, 5), (1, 3)))
    x, y, z = (
        axis[0] + axis[1] * np.arange(size)
        for size, axis in zip(knee.mri.shape, zip(knee.affine[:3, 3], step, strict=True), strict=True)
    )
    x, y, z = np.meshgrid(x, y, z, indexing="ij", sparse=True)
    patella = (np.abs(x) < 30) & (y > 22) & (np.abs(z - 27) < 32)  # has no label
    changed = knee.label_map != healthy.label_map
    disease = Disease.from_severity(knee.severity).only(knee.causes)
    axes = _axes(knee.mri.shape, tuple(step), knee.anatomy, knee.scan, slice(None))
    joint = _joint(axes, knee.anatomy, disease, tuple(step))
    fluid = soft_tissues(axes, joint, knee.anatomy, disease, knee.scan.resting_fluid).fluid
    return {
        "cartilage": distance_transform_edt(~cartilage, sampling=step) <= 2,
        "joint_space": (distance_transform_edt(~changed, sampling=step) <= 6) | patella,
        "osteophytes": (distance_transform_edt(~changed, sampling=step) <= 8) | patella,
        "marrow_lesions": binary_dilation(bone),
        "effusion": fluid <= step.mean(),
    }[cause]


@pytest.mark.parametrize("severity", [0.6, 0.95])
@pytest.mark.parametrize("cause", list(CAUSES))
def test_a_single_cause_changes_its_own_tissue(cause, severity):
    knee = phantom_knee(severity, shape=(48, 72, 72), scan=Scan(seed=1), causes=[cause])
    strength, tissue = np.abs(knee.signal_map()), tissue_of(cause, knee)
    assert tissue.mean() < 0.35
    assert (strength * tissue).sum() / strength.sum() > 0.95


def test_region_holds_the_share_that_is_asked_for_and_no_voxel_more():
    signal = phantom_knee(0.9, **drawn(2)).signal_map()
    strength = np.abs(signal).astype(np.float64)
    for share in (0.5, 0.95):
        region = signal_region(signal, share)
        held = strength[region].sum() / strength.sum()
        assert held >= share - 1e-6
        assert held - strength[region].min() / strength.sum() < share
    assert not signal_region(np.zeros((2, 2, 2), np.float32)).any()


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_shortcuts_change_the_image_and_not_the_label_map(shortcut):
    plain, marked = (phantom_knee(0.5, **drawn(4), shortcut=mark) for mark in (None, shortcut))
    assert np.array_equal(plain.label_map, marked.label_map)
    assert np.isfinite(marked.mri).all()
    healthy = marked.healthy().mri
    assert np.array_equal(marked.signal_map("shortcut"), shortcut(healthy, marked.scan) - healthy)
    assert marked.signal_map("shortcut").any()
    z_scored = [(image - image.mean()) / image.std() for image in (plain.mri, marked.mri)]
    assert np.abs(z_scored[0] - z_scored[1]).max() > 0.2


def test_places_of_the_shortcuts():
    knee = phantom_knee(0.0, **SMALL)
    marked = CornerMark(size=0.25)(knee.mri, knee.scan)
    assert {axis.min() for axis in np.nonzero(marked != knee.mri)} == {12, 0}
    assert (marked[-4:, :6, :6] == knee.scan.gain).all()
    gained = CoilGain(change=0.6)(knee.mri, knee.scan) / np.maximum(knee.mri, 1e-6)
    assert gained[8, 12, -1] / gained[8, 12, 0] == pytest.approx(np.exp(0.6), rel=1e-4)
    narrow = NarrowField(margin=0.1)(knee.mri, knee.scan)
    assert not narrow[:2].any()
    assert not narrow[..., -2:].any()
    assert np.array_equal(narrow[2:-2, 2:-2, 2:-2], knee.mri[2:-2, 2:-2, 2:-2])


def test_files_of_single_causes_shortcuts_and_signal_maps(tmp_path):
    arguments = {
        "knees": 12, "shape": (8, 12, 12), "causes": ["effusion", "cartilage"], "shortcut": CornerMark(0.3),
        "progress": False,
    }  # fmt: skip
    made = make_phantoms(tmp_path, **arguments, signal_maps=True)
    table = made.table
    assert (table["shortcut"].astype(int) == table["oa"]).all()
    assert 0 < table["shortcut"].astype(int).sum() < 12
    for row in table.itertuples():
        mri, signal = (
            np.asarray(nibabel.load(tmp_path / folder / f"{row.knee}.nii.gz").dataobj, np.int32)
            for folder in ("mri", "signal")
        )
        assert bool(signal.any()) == (float(row.severity) > 0)
        corner = mri[-2:, :4, :4]
        assert (corner == corner.flat[0]).all() == bool(int(row.shortcut))
    with pytest.raises(FileExistsError, match="causes"):
        make_phantoms(tmp_path, **{**arguments, "causes": ["effusion"]})
    with pytest.raises(FileExistsError, match="shortcut"):
        make_phantoms(tmp_path, **{**arguments, "shortcut": CornerMark(0.4)})


def test_a_shortcut_can_go_with_the_label_less_than_always(tmp_path):
    made = make_phantoms(
        tmp_path, 40, shape=(4, 4, 4), shortcut=CornerMark(), shortcut_agreement=0.7, progress=False
    )
    agreement = (made.table["shortcut"].astype(int) == made.table["oa"]).mean()
    assert 0.5 < agreement < 0.9
    with pytest.raises(ValueError, match="shortcut_agreement: expected a share"):
        make_phantoms(tmp_path, shortcut=CornerMark(), shortcut_agreement=1.5)


def test_folders_of_before_are_still_ours(tmp_path):
    """The record of a default set does not mention what did not exist when it was made."""
    make_phantoms(tmp_path, 5, shape=(4, 4, 4), progress=False)
    record = (tmp_path / "phantoms.json").read_text()
    assert "causes" not in record
    assert "shortcut" not in record
