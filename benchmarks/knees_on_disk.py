"""Scans on disk, as large as real ones or many small ones, with a manifest."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter, zoom

Shape = tuple[int, int, int]
_SPACING = (0.3646, 0.3646, 0.7)
"""Millimetres of a sagittal scan: rows, columns, slices."""


@dataclass(frozen=True)
class KneesOnDisk:
    """Scans and label maps in a folder.

    Args:
        folder: where they lie.
        knees: how many.
        shape: voxels of each, in the order of the file.
        suffix: ``.nii`` or ``.nii.gz``.
    """

    folder: Path
    knees: int
    shape: Shape
    suffix: str = ".nii.gz"

    @property
    def manifest(self) -> Path:
        """The table that names them."""
        return self.folder / "knees.csv"

    def scan(self, index: int) -> Path:
        """File of one scan."""
        return self.folder / f"knee-{index}{self.suffix}"

    def mask(self, index: int) -> Path:
        """File of its label map."""
        return self.folder / f"knee-{index}-cartilage{self.suffix}"

    def write(self) -> KneesOnDisk:
        """Write sagittal int16 volumes of smooth texture and noise, which gzip makes about half as large."""
        generator = np.random.default_rng(0)
        coarse = gaussian_filter(generator.normal(size=[size // 8 for size in self.shape]), 1)
        smooth = zoom(coarse / coarse.std(), 8, order=1)
        for index in range(self.knees):
            noise = generator.normal(size=self.shape)
            volume = (300 + 80 * np.roll(smooth, 16 * index, axis=0) + 15 * noise).clip(0).astype(np.int16)
            labels = (np.abs(np.roll(smooth, 16 * index, axis=1)) < 0.05).astype(np.uint8) * 2
            nib.save(nib.Nifti1Image(volume, _affine()), self.scan(index))
            nib.save(nib.Nifti1Image(labels, _affine()), self.mask(index))
        self._write_manifest()
        return self

    def write_small(self) -> KneesOnDisk:
        """Write many small ones quickly: the same bytes but for a number in the first voxels of each."""
        volume = np.random.default_rng(0).normal(300, 80, self.shape).clip(1).astype(np.int16)
        labels = np.zeros(self.shape, dtype=np.uint8)
        labels[2:5, 2:5, 2:5] = 2
        bits = np.zeros(16, dtype=np.uint8)
        scan, mask = (_bytes(nib.Nifti1Image(array, _affine())) for array in (volume, labels))
        for index in range(self.knees):
            scan[352:356] = index.to_bytes(4, "little")
            bits[:] = [2 * (index >> bit & 1) for bit in range(16)]
            mask[352:368] = bits.tobytes()
            self.scan(index).write_bytes(scan)
            self.mask(index).write_bytes(mask)
        self._write_manifest()
        return self

    def _write_manifest(self) -> None:
        rows = [["knee", "subject", "mri", "cartilage", "kl"]]
        for index in range(self.knees):
            files = [self.scan(index).name, self.mask(index).name]
            rows.append([f"{index:06d}", f"{index:06d}", *files, str(index % 5)])
        with self.manifest.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)


def by(shape: tuple[int, ...]) -> str:
    """A shape in words.

    >>> by((8, 9, 10))
    '8x9x10'
    """
    return "x".join(map(str, shape))


def _affine() -> np.ndarray:
    """Rows from anterior to posterior, columns upwards, slices to the left."""
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = -_SPACING[0], _SPACING[1], -_SPACING[2], 1
    return affine


def _bytes(image: nib.Nifti1Image) -> bytearray:
    return bytearray(image.to_bytes())
