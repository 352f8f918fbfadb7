"""Volumes inside pages: small enough, in their place, and silent about whose they are."""

from __future__ import annotations

import base64
import gzip
import math

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oahier.images import Grid
from oahier.images.embedded import as_text, block_for, block_grid, block_means, grey_levels

SIDES = st.tuples(*[st.integers(1, 60)] * 3)
SPACINGS = st.tuples(*[st.floats(0.2, 4)] * 3)


@given(SIDES, SPACINGS, st.integers(1, 5000))
def test_a_block_keeps_the_budget_and_wastes_little(
    shape: tuple[int, ...], spacing: tuple[float, ...], most: int
) -> None:
    block = block_for(Grid(shape, np.diag([*spacing, 1.0])), most)
    assert math.prod(-(-count // step) for count, step in zip(shape, block, strict=True)) <= most
    if math.prod(shape) <= most:
        assert block == (1, 1, 1)


def test_the_finest_axis_becomes_coarser_first() -> None:
    assert block_for(Grid((160, 384, 384), np.diag([0.7, 0.365, 0.365, 1.0])), 12_000_000) == (1, 2, 1)
    with pytest.raises(ValueError, match="most: expected 1 or more voxels, got 0"):
        block_for(Grid((2, 2, 2), np.eye(4)), 0)


@given(SIDES, st.tuples(*[st.integers(1, 4)] * 3))
def test_means_lie_where_their_voxels_lie(steps: tuple[int, ...], block: tuple[int, ...]) -> None:
    """The means of coordinates are the coordinates of the means, in whole blocks of a turned grid."""
    shape = tuple(min(count, 6) * step for count, step in zip(steps, block, strict=True))
    affine = np.array([[0.5, 0.1, 0, -7], [-0.1, 0.4, 0.05, 3], [0, 0.02, 1.5, 20], [0, 0, 0, 1]])
    places = np.stack([*np.meshgrid(*map(np.arange, shape), indexing="ij"), np.ones(shape)])
    coarse = block_grid(Grid(shape, affine), block)
    indices = np.stack([*np.meshgrid(*map(np.arange, coarse.shape), indexing="ij"), np.ones(coarse.shape)])
    for row in range(3):
        means = block_means(np.tensordot(affine[row], places, 1), block)
        np.testing.assert_allclose(means, np.tensordot(coarse.affine[row], indices, 1), atol=1e-9)


def test_text_is_a_file_that_others_read_and_names_nobody() -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 6, 7)).astype(np.uint8)
    affine = np.diag([0.7, 0.4, 0.4, 1.0])
    packed = base64.b64decode(as_text(values, Grid(values.shape, affine)))
    assert packed[3] == 0, "neither file name nor comment in the gzip header"
    assert packed[4:8] == b"\0" * 4, "nor a time"
    image = nib.Nifti1Image.from_bytes(gzip.decompress(packed))
    np.testing.assert_array_equal(np.asarray(image.dataobj), values)
    np.testing.assert_allclose(image.affine, affine, rtol=1e-6)
    header = image.header
    assert {
        bytes(header[name]).strip(b"\0") for name in ("descrip", "aux_file", "db_name", "intent_name")
    } == {b""}
    assert not len(header.extensions)


def test_grey_levels_of_what_is_no_number() -> None:
    assert grey_levels(np.array([np.nan, -np.inf, 6.0, np.inf]), 5.0, 7.0).tolist() == [0, 0, 128, 255]
    assert grey_levels(np.array([4.0, 5.0, 6.0]), 5.0, 5.0).tolist() == [0, 0, 0]
