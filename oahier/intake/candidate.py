"""Knees to import and entries left out, as found before any image is opened; the result of an import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oahier.data.manifest.manifest import Manifest
from oahier.images import Image, image_files

if TYPE_CHECKING:
    from oahier.images.dicom import Series

MaskStep = Callable[[Path, Image, Image], tuple[np.ndarray, list[str]]]
"""Makes a label map with this library's ids on the grid of an image.

It is given the file of the map, the map as read and the image, and returns uint8 voxels of the image's shape
(axes nearest to RAS, as ``image.data``) with notes for the log; it raises
:class:`~oahier.images.UnreadableImage` where that is impossible. Its ``repr`` is part of what an import
remembers: use a frozen dataclass, at module level so that other processes can load it.
"""


@dataclass(frozen=True)
class Candidate:
    """A knee that the tables and folders of a source promise; its files have not been opened.

    Args:
        knee: unique name, which becomes a file name: ``<subject>-<side>`` or ``<subject>-<side>-<visit>``.
        subject: who it belongs to, as text.
        side: ``left``, ``right``, or empty where only the image may know.
        visit: name of the visit, empty if there is one.
        mri: image file, or DICOM folder.
        cartilage: label map.
        kl: grade 0-4, ``None`` if unknown.
        oa: 0 or 1 where a source has it without a grade.
        split: train, val, test, or empty.
        covariates: further columns of the manifest.
        series: the DICOM series, if its folder holds others too; it is then written as NIfTI.
        mask: conversion of the label map, if its ids or geometry differ from this library's.
        insist: kinds of errors in spite of which image and label map are read; what was is written as NIfTI.
        source: where the image came from, if that is not ``mri`` (a member of an archive).
    """

    knee: str
    subject: str
    side: str
    visit: str
    mri: Path
    cartilage: Path | None = None
    kl: int | None = None
    oa: int | None = None
    split: str = ""
    covariates: Mapping[str, str] = field(default_factory=dict)
    series: Series | None = None
    mask: MaskStep | None = None
    source: str = ""
    insist: tuple[str, ...] = ()

    @property
    def image_files(self) -> tuple[Path, ...]:
        """The files that hold the image, those of a series in the order of its slices."""
        return image_files(self.mri) if self.series is None else tuple(self.series.files)


@dataclass(frozen=True)
class LeftOut:
    """An entry of a source that is not in the manifest, and the reason.

    Args:
        source: file, folder or table row, relative to the source.
        knee: name it would have had, empty if that is unknown.
        subject: whose it is, empty if unknown.
        reason: what was expected and what came.
    """

    source: str
    knee: str
    subject: str
    reason: str


@dataclass(frozen=True, eq=False)
class ImportResult:
    """Result of an import.

    Args:
        manifest: the knees, as read from ``folder / "manifest.csv"``.
        left_out: entries that are not in it, with reasons; also in ``left-out.csv``.
        folder: the destination.
        report: the content of ``import.json``: importer, source, options, licence, counts, files written.
    """

    manifest: Manifest
    left_out: list[LeftOut]
    folder: Path
    report: Mapping[str, Any] = field(default_factory=dict)
