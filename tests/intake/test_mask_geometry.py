from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from miniature.oai_zib import AS_PUBLISHED, knee, write_mask

from oahier.images import Grid, Image, UnreadableImage, read_image, write_image
from oahier.intake.mask_geometry import Orientation, contrast, find_orientation, interfaces, orientations
from oahier.intake.tibial_cartilage import part_tibial_cartilage
from oahier.intake.zib_mask import ZibMask, tissue_share

ALL = [(order, signs) for order in permutations(range(3)) for signs in product((False, True), repeat=3)]


@pytest.fixture(scope="module")
def phantom():
    return knee(0.3)


@pytest.fixture(scope="module")
def mri(phantom, tmp_path_factory: pytest.TempPathFactory) -> Image:
    path = tmp_path_factory.mktemp("mri") / "mri.nii.gz"
    return read_image(write_image(path, phantom.mri, phantom.affine))


def together(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == 5, 4, labels).astype(np.uint8)


@pytest.mark.parametrize("turn", ALL, ids=lambda turn: str(Orientation(*turn)))
def test_every_order_of_axes_is_found(phantom, mri: Image, turn, tmp_path: Path) -> None:
    path = write_mask(tmp_path / "9001104.segmentation_masks.mhd", phantom.label_map, turn)
    labels, notes = ZibMask("right")(path, read_image(path), mri)
    np.testing.assert_array_equal(labels, phantom.label_map)
    assert notes[2] == "100.0% of the map lies in tissue"
    assert "cartilage brighter than bone at 99.6% of 263 places (next best 88.2%)" in notes[0]


@pytest.mark.parametrize(
    "header",
    [
        {"ElementSpacing": "0.7 0.36 0.36"},
        {"Offset": "1e5 -3 7"},
        {"TransformMatrix": "0 1 0 -1 0 0 0 0 1"},
        {"TransformMatrix": "-1 0 0 0 -1 0 0 0 -1", "ElementSpacing": "9 9 0.1"},
    ],
)
def test_the_header_of_the_map_does_not_matter(phantom, mri: Image, header, tmp_path: Path) -> None:
    path = write_mask(tmp_path / "m.mhd", phantom.label_map, AS_PUBLISHED, header)
    np.testing.assert_array_equal(ZibMask("right")(path, read_image(path), mri)[0], phantom.label_map)


@pytest.mark.parametrize("axes", ["PIR", "LPS", "SAL", "ARI"])
def test_the_axes_of_the_image_do_not_matter(phantom, axes: str, tmp_path: Path) -> None:
    """The DICOM image may be stored in any order; the map is stored as published."""
    image = nib.Nifti1Image(phantom.mri, phantom.affine)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(phantom.affine), nib.orientations.axcodes2ornt(tuple(axes))
    )
    nib.save(image.as_reoriented(turn), tmp_path / "mri.nii.gz")
    path = write_mask(tmp_path / "m.mhd", phantom.label_map)
    np.testing.assert_array_equal(
        ZibMask("right")(path, read_image(path), read_image(tmp_path / "mri.nii.gz"))[0], phantom.label_map
    )


def test_odd_matrix_sizes_leave_fewer_orders() -> None:
    assert len(list(orientations((160, 384, 384), (160, 384, 384)))) == 16
    assert len(list(orientations((160, 384, 352), (352, 160, 384)))) == 8
    assert len(list(orientations((40, 40, 40), (40, 40, 40)))) == 48
    assert not list(orientations((159, 384, 384), (160, 384, 384)))


def test_turns_map_voxels_as_they_turn_arrays() -> None:
    labels = np.arange(24).reshape(2, 3, 4)
    for order, signs in ALL:
        turn = Orientation(order, signs)
        turned = turn.apply(labels)
        stored = np.array(np.nonzero(labels >= 0))
        places = turn.indices(stored, turned.shape)
        np.testing.assert_array_equal(turned[places], labels[tuple(stored)])


def test_interfaces_lie_inside_bone_and_cartilage(phantom) -> None:
    labels = together(phantom.label_map)
    bone, cartilage = interfaces(labels)
    below, above = labels[tuple(bone)], labels[tuple(cartilage)]
    np.testing.assert_array_equal(below + 1, above)
    assert set(below.tolist()) == {1, 3}
    assert set(np.abs(bone - cartilage).sum(axis=0).tolist()) == {3}


@pytest.mark.parametrize("number", range(20))
def test_the_map_of_another_knee_is_refused(mri: Image, number: int) -> None:
    """Knees of other severity and side, that lie elsewhere by two voxels or more along each axis."""
    rng = np.random.default_rng(number)
    other = together(knee(rng.uniform(0, 0.4), "left" if number % 2 else "right").label_map)
    other = np.roll(other, rng.integers(2, 5, 3) * rng.choice([-1, 1], 3), axis=(0, 1, 2))
    with pytest.raises(UnreadableImage, match=r"is it the map of another image\?|almost alike"):
        find_orientation("m", other, mri.data, mri.grid)


def test_noise_and_symmetry_are_refused(phantom, mri: Image) -> None:
    labels = together(phantom.label_map)
    noise = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    with pytest.raises(UnreadableImage, match="it fits the image in no orientation: cartilage brighter than"):
        find_orientation("m", labels, noise, mri.grid)
    twin = np.maximum(mri.data, mri.data[::-1])  # a knee that is its own mirror image
    both = np.where(labels > 0, labels, labels[::-1])
    with pytest.raises(UnreadableImage, match="two orientations fit the image almost alike"):
        find_orientation("m", both, twin, mri.grid)


def test_maps_that_cannot_be_judged(phantom, mri: Image, tmp_path: Path) -> None:
    labels = together(phantom.label_map)
    with pytest.raises(
        UnreadableImage, match=r"expected the image's 24x64x64 voxels in any order.*got 23x64x64"
    ):
        find_orientation("m", labels[1:], mri.data, mri.grid)
    with pytest.raises(UnreadableImage, match=r"no tibia \(id 3\) in it"):
        find_orientation("m", np.where(labels >= 3, 0, labels).astype(np.uint8), mri.data, mri.grid)
    with pytest.raises(
        UnreadableImage, match="expected 100 or more places where bone meets cartilage, got 0"
    ):
        find_orientation("m", np.where(labels % 2, labels, 0).astype(np.uint8), mri.data, mri.grid)
    sideways = replace(mri, grid=Grid(mri.grid.shape, mri.grid.affine[:, [0, 2, 1, 3]]))
    lying = np.repeat(np.repeat(labels[:, :40], 2, axis=2), 2, axis=0)
    with pytest.raises(UnreadableImage, match="above the tibia in no order of the axes"):
        find_orientation("m", lying, np.zeros(lying.shape, np.float32), sideways.grid)
    path = write_mask(tmp_path / "m.mhd", phantom.label_map * 2)
    with pytest.raises(UnreadableImage, match=r"expected the ids 0 background, 1 femur.*got 0, 2, 4, 6, 8"):
        ZibMask("right")(path, read_image(path), mri)


def test_tissue(phantom, mri: Image) -> None:
    labels = together(phantom.label_map)
    assert tissue_share(labels, mri) == 1
    shifted = np.roll(labels, 26, axis=2)
    assert tissue_share(shifted, mri) < 1
    empty = replace(mri, data=np.where(labels > 0, 0, mri.data).astype(np.float32))
    assert tissue_share(labels, empty) < 0.9


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("severity", [0.0, 0.3, 0.6, 0.9])
def test_plateaus_are_told_apart(side: str, severity: float) -> None:
    true = knee(severity, side).label_map
    parted, note = part_tibial_cartilage("m", together(true), side)
    np.testing.assert_array_equal(parted, true)
    other = "right" if side == "left" else "left"
    swapped, _ = part_tibial_cartilage("m", together(true), other)
    np.testing.assert_array_equal(swapped == 4, true == 5)
    assert note == (
        f"tibial cartilage parted into {(true == 4).sum()} medial and {(true == 5).sum()} lateral voxels"
    )


def test_plateaus_that_cannot_be_told_apart(phantom) -> None:
    labels = together(phantom.label_map)
    with pytest.raises(UnreadableImage, match="without the side of the knee they cannot be told apart"):
        part_tibial_cartilage("m", labels, "")
    slab = np.where(labels == 4, 0, labels).astype(np.uint8)
    wide = np.flatnonzero((labels == 3).any(axis=(1, 2)))
    slab[wide[0] : wide[-1] + 1, 30:34, 30] = 4
    with pytest.raises(UnreadableImage, match="no gap in the middle that parts medial from lateral"):
        part_tibial_cartilage("m", slab, "right")
    half = labels.copy()
    half[12:][half[12:] == 4] = 0
    with pytest.raises(UnreadableImage, match=r"0 to the right|voxels to the left, 0"):
        part_tibial_cartilage("m", half, "right")
    with pytest.raises(UnreadableImage, match="no tibial cartilage"):
        part_tibial_cartilage("m", np.where(labels == 4, 0, labels).astype(np.uint8), "left")


def test_real_mean_knee(shared_data: Path) -> None:
    """The mean of 103 DESS knees and its labels: all 16 orders are told apart, both plateaus exactly."""
    image = read_image(shared_data / "clair-template" / "template.nii.gz")
    true = read_image(shared_data / "clair-template" / "segmentation.nii.gz").data.astype(np.uint8)
    for turn in orientations(true.shape, true.shape):
        stored = turn.apply(together(true))
        fit = find_orientation("m", stored, image.data, image.grid)
        np.testing.assert_array_equal(fit.orientation.apply(stored), together(true))
        assert fit.contrast > 0.99
        assert fit.contrast - fit.second > 0.3
    np.testing.assert_array_equal(part_tibial_cartilage("m", together(true), "right")[0], true)


def test_real_cartilage_is_brighter_than_bone(shared_data: Path) -> None:
    """A DESS volunteer: femoral cartilage against what lies above it within 8 mm."""
    from scipy import ndimage

    image = read_image(shared_data / "dess-volunteer" / "dess.nii.gz")
    cartilage = read_image(shared_data / "dess-volunteer" / "femoral-cartilage.nii.gz").data > 0
    k = np.arange(cartilage.shape[2])
    top = np.where(cartilage.any(axis=2), (cartilage * k).max(axis=2), 1 << 20)
    near = ndimage.distance_transform_edt(~cartilage, sampling=image.grid.spacing) < 8
    labels = np.zeros(cartilage.shape, np.uint8)
    labels[near & (k > top[:, :, None])] = 1
    labels[cartilage] = 2
    bone, inside = interfaces(labels)
    shares = sorted(
        contrast(image.data, turn, bone, inside) for turn in orientations(labels.shape, labels.shape)
    )
    assert shares[-1] == contrast(image.data, Orientation((0, 1, 2), (False, False, False)), bone, inside)
    assert shares[-1] > 0.95
    assert shares[-2] < 0.6
