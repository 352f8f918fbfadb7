from __future__ import annotations

import numpy as np

from oahier.saliency.peak import peak_voxel


def test_of_equal_voxels_the_one_nearest_to_the_middle_is_the_peak() -> None:
    values = np.zeros((4, 1, 1))
    values[[1, 3]] = 1.0  # the middle of four voxels is 1.5: index 1 is nearer than 3
    assert peak_voxel(values) == (1, 0, 0)
    assert peak_voxel(values[::-1]) == (2, 0, 0)
    assert peak_voxel(values, np.array([2.9, 0.0, 0.0])) == (3, 0, 0)


def test_the_first_of_two_middle_voxels_is_the_peak() -> None:
    values = np.zeros((4, 1, 1))
    values[[1, 2]] = 1.0  # equally near to 1.5
    assert peak_voxel(values) == (1, 0, 0)
