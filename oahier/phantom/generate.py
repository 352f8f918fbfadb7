"""Phantom knees written as NIfTI files with a manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from oahier.data.splitting.plans import SplitFractions, assign_splits
from oahier.files import frame_csv, write_atomically, write_json
from oahier.hierarchy import OA_FROM_GRADE
from oahier.images import write_image
from oahier.phantom.cohort import KneePlan
from oahier.phantom.disease import CAUSES
from oahier.phantom.knee import phantom_knee
from oahier.phantom.plan import OASource, PhantomPlan
from oahier.phantom.readers import ReaderNoise, read_grade
from oahier.phantom.shortcuts import Shortcut
from oahier.progress import progress as show

if TYPE_CHECKING:
    from oahier.data.manifest.manifest import Manifest

RECORD = "phantoms.json"
"""File beside the manifest that remembers with which parameters the folder was made."""

_SHORTCUT = 8
"""Random stream of the shortcut, beside those of :mod:`oahier.phantom.cohort`."""


def make_phantoms(
    folder: str | Path,
    knees: int = 60,
    *,
    shape: tuple[int, int, int] = (64, 96, 96),
    spacing: tuple[float, float, float] | None = None,
    seed: int = 0,
    knees_per_subject: int = 1,
    visits: int = 1,
    interval: int = 12,
    rate: int | float = 0.05,
    reader_noise: ReaderNoise | None = "block",
    oa_from: OASource = "observed",
    grade_weights: tuple[float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0),
    val: float = 0.2,
    test: float = 0.2,
    causes: Sequence[str] = tuple(CAUSES),
    shortcut: Shortcut | None = None,
    shortcut_agreement: float = 1.0,
    signal_maps: bool = False,
    progress: bool = True,
) -> Manifest:
    """Make a folder of phantom knees: ``mri/*.nii.gz``, ``cartilage/*.nii.gz`` and ``manifest.csv``.

    The manifest has the usual columns and ``severity`` (true, continuous, 0 to 1), ``true_kl`` (its grade:
    steps of 0.2) beside ``kl`` (as a reader observed it) and ``oa``. Each knee depends on the seed and its
    subject, side and visit alone, so that a larger set begins with the smaller one. Files are written
    atomically; called again with the same parameters, only missing ones are made.

    Args:
        folder: where to write; made if it is missing.
        knees: how many knees in all, each scanned ``visits`` times.
        shape: voxels along right, anterior and superior.
        spacing: voxel size in mm; by default the shape covers 112 x 128 x 128 mm.
        seed: another seed gives other subjects.
        knees_per_subject: 1 (a random side) or 2.
        visits: scans per knee, of the same anatomy in a new pose with new noise. The manifest then also has
            ``month`` and ``rate``, the severity that both knees of the subject gain in a year.
        interval: months between visits.
        rate: severity that a subject gains in a year, on average; exponentially distributed over subjects.
        reader_noise: 5 x 5 confusion matrix from true to observed grade, rows summing to 1; ``"block"`` errs
            inside {0, 1} and {2, 3, 4} only; ``"none"`` or ``None`` reads without error.
        oa_from: grade that OA is derived from. ``"true"`` needs a reader who never crosses the OA threshold,
            because a manifest whose OA contradicts its KL grade is not accepted.
        grade_weights: relative frequency of the true grades 0-4.
        val: share of the knees for validation; splits are grouped by subject and stratified by grade.
        test: share of the knees for testing.
        causes: signs of disease that knees have, some of :data:`~oahier.phantom.CAUSES`.
        shortcut: mark of the acquisition that is planted in knees with OA
            (:mod:`oahier.phantom.shortcuts`); the column ``shortcut`` says in which.
        shortcut_agreement: share of the knees in which it agrees with the ``oa`` column.
        signal_maps: also write ``signal/*.nii.gz``, see :meth:`~oahier.phantom.PhantomKnee.signal_map`.
        progress: show a progress bar.

    Raises:
        ValueError: an argument out of its range.
        FileExistsError: the folder holds phantoms made with other parameters.
        OSError: the folder cannot be written or the disk is full.
    """
    from oahier.data.manifest.manifest import read_manifest

    return read_manifest(
        write_phantoms(
            folder,
            PhantomPlan(
                knees=knees,
                shape=shape,
                spacing=spacing,
                seed=seed,
                knees_per_subject=knees_per_subject,
                visits=visits,
                interval=interval,
                rate=rate,
                reader_noise=reader_noise,
                oa_from=oa_from,
                grade_weights=grade_weights,
                val=val,
                test=test,
                causes=tuple(causes),
                shortcut=shortcut,
                shortcut_agreement=shortcut_agreement,
            ),
            signal_maps=signal_maps,
            progress=progress,
        )
    )


def write_phantoms(
    folder: str | Path, plan: PhantomPlan, *, signal_maps: bool = False, progress: bool = True
) -> Path:
    """Write the knees of a plan that are missing, then the manifest.

    Returns:
        the manifest's file.

    Raises:
        FileExistsError: the folder holds phantoms made with other parameters, or a manifest of other knees.
    """
    folder = Path(folder)
    scans = plan.scans()
    table = _table(scans, plan)
    _claim(folder, plan.record())
    planted = table["shortcut"] if "shortcut" in table else [0] * len(scans)
    for scan, mark in show(zip(scans, planted, strict=True), len(scans), "Phantom knees", show=progress):
        paths = [folder / name for name in (*_paths(scan), f"signal/{scan.knee}.nii.gz")]
        if not all(path.is_file() for path in paths[: 3 if signal_maps else 2]):
            knee = phantom_knee(
                scan.severity,
                shape=plan.shape,
                spacing=plan.spacing,
                side=scan.side,
                anatomy=scan.anatomy,
                scan=scan.scan,
                causes=plan.causes,
                shortcut=plan.shortcut if mark else None,
            )
            write_image(paths[1], knee.label_map, knee.affine)
            write_image(paths[0], _rounded(knee.mri), knee.affine)
            if signal_maps:
                write_image(paths[2], _rounded(knee.mri) - _rounded(knee.healthy().mri), knee.affine)
    return write_atomically(folder / "manifest.csv", frame_csv(table))


def _claim(folder: Path, record: dict[str, Any]) -> None:
    """Make sure that the folder is ours, and remember the parameters before the first image is written."""
    path = folder / RECORD
    if not path.is_file():
        if (folder / "manifest.csv").exists():
            raise FileExistsError(
                f"{folder}: expected an empty folder or one of phantoms, got a manifest without {RECORD}; "
                "choose another folder"
            )
        write_json(path, record)
        return
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise FileExistsError(
            f"{path}: expected JSON, got {error}; delete the folder and make it again"
        ) from error
    other = [
        f"{name} {found.get(name)} (asked for: {value})"
        for name, value in record.items()
        if found.get(name) != value
    ]
    if other:
        raise FileExistsError(
            f"{folder}: holds phantoms made with other parameters: {', '.join(other)}; "
            "choose another folder or delete this one"
        )


def _paths(scan: KneePlan) -> tuple[str, str]:
    return f"mri/{scan.knee}.nii.gz", f"cartilage/{scan.knee}.nii.gz"


def _rounded(mri: np.ndarray) -> np.ndarray:
    """Intensities as scanners store them."""
    return np.asarray(np.rint(mri), dtype=np.int16)


def _table(scans: Sequence[KneePlan], plan: PhantomPlan) -> pd.DataFrame:
    rows = []
    for scan in scans:
        observed = read_grade(scan.true_kl, plan.matrix, np.random.default_rng(scan.reader_seed))
        mri, cartilage = _paths(scan)
        rows.append(
            {
                "knee": scan.knee,
                "subject": scan.subject,
                "side": scan.side,
                "visit": f"V{scan.visit:02d}",
                "mri": mri,
                "cartilage": cartilage,
                "kl": observed,
                "oa": int((observed if plan.oa_from == "observed" else scan.true_kl) >= OA_FROM_GRADE),
                "split": "",
                "severity": scan.severity,
                "true_kl": scan.true_kl,
                **({"month": scan.month, "rate": scan.rate} if plan.visits > 1 else {}),
            }
        )
    table = pd.DataFrame(rows)
    if plan.shortcut is not None:
        other = [_draws_against(scan, plan.shortcut_agreement) for scan in scans]
        table["shortcut"] = (table["oa"] ^ np.asarray(other)).astype(int)
    table["split"] = assign_splits(table, SplitFractions(val=plan.val, test=plan.test), plan.seed)
    return table


def _draws_against(scan: KneePlan, agreement: float) -> bool:
    return bool(np.random.default_rng((_SHORTCUT, *scan.reader_seed[1:])).random() >= agreement)
