"""Phantom knees written as NIfTI files with a manifest."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from oahier.data.splitting.plans import SplitFractions, assign_splits
from oahier.files import write_atomically
from oahier.hierarchy import OA_FROM_GRADE
from oahier.phantom.cohort import KneePlan, plan_subject
from oahier.phantom.knee import PhantomKnee, check_grid, default_spacing, phantom_knee
from oahier.phantom.readers import ReaderNoise, crosses_oa, read_grade, reader_matrix
from oahier.progress import progress as show
from oahier.types import KL_GRADES

if TYPE_CHECKING:
    from oahier.data.manifest.manifest import Manifest

RECORD = "phantoms.json"
"""File beside the manifest that remembers with which parameters the folder was made."""

MODEL_VERSION = 1
"""Raised when the same parameters give other images."""

OASource = Literal["observed", "true"]


def make_phantoms(
    folder: str | Path,
    knees: int = 60,
    *,
    shape: tuple[int, int, int] = (64, 96, 96),
    spacing: tuple[float, float, float] | None = None,
    seed: int = 0,
    knees_per_subject: int = 1,
    visits: int = 1,
    reader_noise: ReaderNoise | None = "block",
    oa_from: OASource = "observed",
    grade_weights: tuple[float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0),
    val: float = 0.2,
    test: float = 0.2,
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
        visits: scans per knee; the severity never falls from one to the next.
        reader_noise: 5 x 5 confusion matrix from true to observed grade, rows summing to 1; ``"block"`` errs
            inside {0, 1} and {2, 3, 4} only; ``"none"`` or ``None`` reads without error.
        oa_from: grade that OA is derived from. ``"true"`` needs a reader who never crosses the OA threshold,
            because a manifest whose OA contradicts its KL grade is not accepted.
        grade_weights: relative frequency of the true grades 0-4.
        val: share of the knees for validation; splits are grouped by subject and stratified by grade.
        test: share of the knees for testing.
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
                reader_noise=reader_noise,
                oa_from=oa_from,
                grade_weights=grade_weights,
                val=val,
                test=test,
            ),
            progress=progress,
        )
    )


@dataclass(frozen=True, kw_only=True)
class PhantomPlan:
    """Checked parameters of a set of phantoms; see :func:`make_phantoms`."""

    knees: int = 60
    shape: tuple[int, int, int] = (64, 96, 96)
    spacing: tuple[float, float, float] | None = None
    seed: int = 0
    knees_per_subject: int = 1
    visits: int = 1
    reader_noise: ReaderNoise | None = "block"
    oa_from: OASource = "observed"
    grade_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    val: int | float = 0.2
    test: int | float = 0.2

    def __post_init__(self) -> None:
        for name, low, high in (("knees", 1, 9999), ("visits", 1, 99), ("knees_per_subject", 1, 2)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"{name}: expected a whole number from {low} to {high}, got {getattr(self, name)}"
                )
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        check_grid(self.shape, self.spacing)
        if self.oa_from not in ("observed", "true"):
            raise ValueError(f"oa_from: expected 'observed' or 'true', got {self.oa_from!r}")
        if self.oa_from == "true" and crosses_oa(self.matrix):
            raise ValueError(
                "oa_from='true': reader_noise moves knees across the OA threshold (between KL "
                f"{OA_FROM_GRADE - 1} and {OA_FROM_GRADE}), so "
                "that OA would contradict the observed grade; use oa_from='observed' or reader_noise='block'"
            )
        weights = np.asarray(self.grade_weights, dtype=np.float64)
        if weights.shape != (KL_GRADES,) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
            raise ValueError(
                f"grade_weights: expected {KL_GRADES} weights of 0 or more, not all 0, "
                f"got {self.grade_weights}"
            )
        SplitFractions(val=self.val, test=self.test)

    @property
    def matrix(self) -> np.ndarray:
        """Confusion matrix of the reader."""
        return reader_matrix("none" if self.reader_noise is None else self.reader_noise)

    def scans(self) -> list[KneePlan]:
        """Every scan, by subject, side and visit."""
        scans: list[KneePlan] = []
        for number in range(-(-self.knees // self.knees_per_subject)):
            left = min(self.knees_per_subject, self.knees - number * self.knees_per_subject)
            scans += plan_subject(
                number, seed=self.seed, knees=left, visits=self.visits, grade_weights=self.grade_weights
            )
        return scans

    def record(self) -> dict[str, Any]:
        """Parameters as JSON."""
        return {
            "model_version": MODEL_VERSION,
            **asdict(self),
            "shape": list(self.shape),
            "spacing": list(self.spacing or default_spacing(self.shape)),
            "reader_noise": self.matrix.tolist(),
            "grade_weights": [float(weight) for weight in self.grade_weights],
        }


def write_phantoms(folder: str | Path, plan: PhantomPlan, *, progress: bool = True) -> Path:
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
    for scan in show(scans, len(scans), "Phantom knees", show=progress):
        mri, cartilage = (folder / name for name in _paths(scan))
        if not (mri.is_file() and cartilage.is_file()):
            knee = phantom_knee(
                scan.severity,
                shape=plan.shape,
                spacing=plan.spacing,
                side=scan.side,
                anatomy=scan.anatomy,
                scan=scan.scan,
            )
            _save(knee, mri, cartilage)
    return write_atomically(folder / "manifest.csv", table.to_csv(index=False))


def _claim(folder: Path, record: dict[str, Any]) -> None:
    """Make sure that the folder is ours, and remember the parameters before the first image is written."""
    path = folder / RECORD
    if not path.is_file():
        if (folder / "manifest.csv").exists():
            raise FileExistsError(
                f"{folder}: expected an empty folder or one of phantoms, got a manifest without {RECORD}; "
                "choose another folder"
            )
        write_atomically(path, json.dumps(record, indent=2) + "\n")
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


def _save(knee: PhantomKnee, mri: Path, cartilage: Path) -> None:
    """Write the image (int16, as scanners do) and the label map on the same grid."""
    import nibabel

    for path, values in ((cartilage, knee.label_map), (mri, np.rint(knee.mri).astype(np.int16))):
        image = nibabel.Nifti1Image(values, knee.affine)
        image.set_sform(knee.affine, code=1)
        image.set_qform(knee.affine, code=1)
        image.header.set_xyzt_units("mm")
        write_atomically(path, gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))


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
            }
        )
    table = pd.DataFrame(rows)
    table["split"] = assign_splits(table, SplitFractions(val=plan.val, test=plan.test), plan.seed)
    return table
