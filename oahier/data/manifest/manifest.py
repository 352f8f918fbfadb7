"""The one table between every source of knees and the rest of the library."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from oahier.data.manifest.columns import COLUMNS, LEVELS, check_table
from oahier.data.manifest.subject_ids import similar_subjects
from oahier.data.manifest.targets import parse_target, target_names
from oahier.data.splitting.balance import Deviation, balance_of, class_column
from oahier.data.splitting.plans import SplitFractions, SplitPlan, assign_splits
from oahier.files import frame_csv, unmarked, write_atomically
from oahier.problems import ManifestError, Problem
from oahier.types import MISSING, Split

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Manifest:
    """A checked table of knees; made by :func:`read_manifest` or :meth:`from_table`.

    Args:
        table: one row per knee with the columns ``knee, subject, side, visit, mri, cartilage, kl, oa, split``
            (strings, ``""`` where unknown; ``kl`` and ``oa`` int64, ``MISSING`` where unknown) and any
            covariates. The index counts the rows of the file from 0.
        root: folder that the relative paths of ``mri`` and ``cartilage`` start from.
        path: the file that the table came from, if it came from one.
    """

    table: pd.DataFrame
    root: Path
    path: Path | None = None

    @classmethod
    def from_table(cls, table: pd.DataFrame, root: str | Path, path: str | Path | None = None) -> Manifest:
        """Check a table that is already in memory; ``kl`` and ``oa`` may hold ``MISSING``.

        Raises:
            ManifestError: with every problem of the table.
        """
        root = Path(root).absolute()
        checked, problems = check_table(_as_text(table), root)
        errors = [problem for problem in problems if problem.severity == "error"]
        if errors:
            raise ManifestError(path or "manifest", errors)
        return cls(checked, root, None if path is None else Path(path))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def has_splits(self) -> bool:
        """True if the knees are assigned to splits."""
        return bool((self.table["split"] != "").any())

    @property
    def has_cartilage(self) -> bool:
        """True if any knee has a label map."""
        return bool((self.table["cartilage"] != "").any())

    def subset(self, split: Split) -> Manifest:
        """The knees of one split."""
        return replace(self, table=self.table[self.table["split"] == split])

    def with_splits(
        self,
        split: SplitPlan | None = None,
        seed: int = 0,
        *,
        stratify: Sequence[str] = ("kl",),
        allow_missing_class: bool = True,
    ) -> Manifest:
        """A copy with splits made anew, grouped by subject; logs the balance that was reached.

        Args:
            split: fractions (70/15/15 when not given) or one fold of a cross-validation.
            seed: other seeds give other splits, the same seed always the same one.
            stratify: columns to balance, the most important one first; ``kl`` means OA where the grade is
                unknown.
            allow_missing_class: only warn of a class that is left out of a part (it has too few subjects, or
                the plan is your own).

        Raises:
            ManifestError: fewer subjects than splits, subjects whose ids are nearly the same ("0071" and
                "71": one person would be in two splits), no such column, or a class left out of a part
                without leave.
        """
        plan = split or SplitFractions()
        self._require_distinct_subjects()
        try:
            names = assign_splits(self.table, plan, seed, stratify)
        except ValueError as error:
            raise ManifestError(self.name, [Problem(str(error))]) from error
        table = self.table.assign(split=names)
        balance = balance_of(table, [class_column(table), *stratify], plan.shares)
        left_out = balance.missing
        if left_out and not allow_missing_class:
            problems = [Problem(_left_out(gap), column="split") for gap in left_out]
            raise ManifestError(self.name, problems)
        logger.info("split of %s: %s", self.name, balance)
        if left_out:
            gaps = ", ".join(f"{gap.name} not in {gap.part}" for gap in left_out)
            logger.warning("split of %s: too few subjects for every class in every part: %s", self.name, gaps)
        return replace(self, table=table)

    def with_validation(
        self,
        share: float = 0.15,
        seed: int = 0,
        *,
        stratify: Sequence[str] = ("kl",),
        allow_missing_class: bool = True,
    ) -> Manifest:
        """A copy whose validation knees are taken from all but the test knees, by subject, stratified.

        For sources that publish a training and a test set only; the test knees stay as they are.

        Args:
            share: of the knees that are not for testing.
            seed: as in :meth:`with_splits`, as are ``stratify`` and ``allow_missing_class``.
            stratify: columns to balance.
            allow_missing_class: only warn of a class that is left out of a part.

        Raises:
            ManifestError: as :meth:`with_splits`.
        """
        self._require_distinct_subjects()
        rest = replace(self, table=self.table[self.table["split"] != "test"])
        inner = rest.with_splits(
            SplitFractions(val=share, test=0.0),
            seed,
            stratify=stratify,
            allow_missing_class=allow_missing_class,
        )
        return replace(
            self, table=self.table.assign(split=inner.table["split"].reindex(self.table.index).fillna("test"))
        )

    def _require_distinct_subjects(self) -> None:
        if similar := similar_subjects(self.table):
            raise ManifestError(self.name, similar)

    @property
    def name(self) -> str:
        """What messages call the manifest: its file, or its folder."""
        return str(self.path or self.root)

    def file(self, position: int, column: str) -> Path | None:
        """The file of the knee at a position, ``None`` if it has none."""
        cell = str(self.table[column].iloc[position])
        return self.root / cell if cell else None

    def labels(self, target: str) -> Int64[np.ndarray, " knees"] | Float32[np.ndarray, " knees"]:
        """Class (``MISSING`` where unknown) or measurement (NaN where unknown) of every knee.

        Columns of whole numbers from 0 on are classes, columns of other numbers are measurements; ``kl``,
        ``oa`` and further readings of them (``kl_2``) are classes always.

        Raises:
            ManifestError: no such column (but ``kl`` and ``oa`` always exist), or cells that are neither.
        """
        if target in LEVELS:
            return self.table[target].to_numpy(np.int64)
        if target not in self.table or target in COLUMNS:
            known = ", ".join(target_names(self.table))
            message = f"missing target column {target!r}; expected one of {known}"
            raise ManifestError(self.name, [Problem(message)])
        cells = _as_text(self.table[[target]])[target]
        values, problems = parse_target(self.table[target], cells, self.table["knee"], target)
        if problems:
            raise ManifestError(self.name, problems)
        return values.to_numpy()

    def write(self, path: str | Path) -> Manifest:
        """Write the table as CSV, its paths relative to the new place, and return it as read from there."""
        path = Path(path).absolute()
        table = self.table.copy()
        for column in ("mri", "cartilage"):
            table[column] = [_relative(self.root, str(cell), path.parent) for cell in table[column]]
        for column in LEVELS:
            table[column] = table[column].astype("string").mask(table[column] == MISSING, "")
        write_atomically(path, frame_csv(table))
        return read_manifest(path)


def read_manifest(path: str | Path) -> Manifest:
    r"""Read and check a manifest: a CSV file (UTF-8) with a row per knee.

    Columns: ``knee``, ``subject`` and ``mri`` are required; ``side`` (left, right), ``visit``, ``cartilage``,
    ``kl`` (0-4), ``oa`` (0, 1), ``split`` (train, val, test) and any covariates are optional. Paths are
    relative to the manifest's folder. Ids stay text (leading zeros included). Empty cells, ``NA``, ``nan``
    and ``.`` are unknown; "2.0" is 2. OA is filled in from KL where it is empty.

    Args:
        path: the file, or a folder that holds ``manifest.csv``.

    Raises:
        ManifestError: lists every problem of the table. What is inside the image files is looked at when
            they are preprocessed, or by :func:`~oahier.audit.check_manifest`.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.nii.gz").write_bytes(b"")
    >>> _ = (folder / "manifest.csv").write_text("knee,subject,mri,kl\n0071R,0071,a.nii.gz,3\n")
    >>> read_manifest(folder).table[["knee", "subject", "kl", "oa"]].values.tolist()
    [['0071R', '0071', 3, 1]]
    """
    path, cells, problems = read_cells(path)
    if problems:
        raise ManifestError(path, problems)
    return Manifest.from_table(cells, path.parent, path)


def read_cells(path: str | Path) -> tuple[Path, pd.DataFrame, list[Problem]]:
    """Every cell of a manifest as text; the index counts the rows of the file, blank ones included."""
    path = Path(path).absolute()
    empty, advice = pd.DataFrame(), ""
    if path.is_dir():
        advice = "; of a folder of images, `oahier data import nifti` makes one"
        path = path / "manifest.csv"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return path, empty, [Problem("expected UTF-8 text, got another encoding; save it as CSV UTF-8")]
    except OSError as error:
        message = f"cannot read the manifest: {error.strerror}; expected a CSV file{advice}"
        return path, empty, [Problem(message)]
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    if not text.strip():
        return path, empty, [Problem("the manifest is empty; expected a header and a row per knee")]
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows = [list(map(unmarked, row)) for row in reader]
    except csv.Error as error:
        return path, empty, [Problem(f"no readable CSV: {error}{_open_quote(text)}")]
    if not any(rows[0]):
        return path, empty, [Problem("expected the header in the first line, which is empty", 1)]
    names, body = [name.strip() for name in rows[0]], rows[1:]
    problems = [
        Problem(f"expected {len(names)} cells as in the header, got {len(row)}", number)
        for number, row in enumerate(body, start=2)
        if row and len(row) != len(names)
    ]
    problems += [
        Problem("a cell goes on in the next line: is a quotation mark missing, or one too many?", number)
        for number, row in enumerate(rows, start=1)
        if any("\n" in cell or "\r" in cell for cell in row)
    ]
    cells = pd.DataFrame(
        [row or [""] * len(names) for row in body] if not problems else [], columns=names, dtype=str
    )
    return path, cells, problems


def _open_quote(text: str) -> str:
    """Where a cell was opened by a quotation mark and not closed."""
    lines = enumerate(text.splitlines(), start=1)
    found = next((number for number, line in lines if line.count('"') % 2), None)
    return "" if found is None else f"; row {found} has an odd number of quotation marks"


def _left_out(gap: Deviation) -> str:
    return (
        f"{gap.name} is left out of {gap.part!r} ({gap.total} in all, and a subject's knees stay together); "
        "give that part a larger share, make fewer parts, or allow a missing class"
    )


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Cells as a manifest writes them: unknown is empty, also where ``kl`` or ``oa`` is ``MISSING``."""

    def text(name: object, value: object) -> str:
        if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
            return ""
        return "" if name in LEVELS and value == MISSING else str(value)

    columns = [[text(name, value) for value in table.iloc[:, i]] for i, name in enumerate(table.columns)]
    frame = pd.DataFrame(dict(enumerate(columns)), index=table.index, dtype=str)
    frame.columns = pd.Index([str(name) for name in table.columns])
    return frame


def _relative(root: Path, cell: str, folder: Path) -> str:
    if not cell or Path(cell).is_absolute():
        return cell
    return Path(os.path.relpath(root / cell, folder)).as_posix()
