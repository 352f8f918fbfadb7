"""Audit of a manifest and its files in one pass: findings, counts and facts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from oahier.audit.anatomy import anatomy_problems
from oahier.audit.counts import default_covariates, file_tables, table_counts
from oahier.audit.duplicates import duplicate_problems
from oahier.audit.edges import edge_problems
from oahier.audit.facts_store import FactStore
from oahier.audit.outliers import outlier_problems
from oahier.audit.page import page
from oahier.audit.result import AuditResult, files_of
from oahier.audit.subject_splits import subject_problems
from oahier.data.arguments import cache_folder
from oahier.data.manifest.columns import check_table, row_number
from oahier.data.manifest.manifest import Manifest, read_cells
from oahier.data.splitting.balance import balance_of, class_column
from oahier.files import write_atomically
from oahier.hierarchy import FINE
from oahier.problems import SEVERITIES, ManifestError, Problem


class Audit(AuditResult):
    """Result of an audit that can be written as a page."""

    def to_html(self, path: str | Path, *, megabytes: float = 12.0) -> Path:
        """Write a page that stands by itself: counts, findings, and pictures of flagged and other knees.

        Args:
            path: the page.
            megabytes: what its pictures may take at most.

        Raises:
            OSError: the file cannot be written.
        """
        return write_atomically(Path(path), page(self, megabytes))


def audit_manifest(
    path: str | Path,
    *,
    workers: int = 0,
    covariates: Sequence[str] | None = None,
    files: bool = True,
    cache: str | Path | None = None,
) -> Audit:
    """Check the table of a manifest and, in one pass, every file that it names.

    What was measured is remembered in ``audit`` of the cache folder, so that unchanged files are not read
    again.

    Args:
        path: the manifest, or a folder that holds ``manifest.csv``.
        workers: processes that read; 0 for this one.
        covariates: columns to count by; ``sex``, ``gender`` and ``site`` when not given.
        files: read the image files, too.
        cache: folder of preprocessed knees; by default that of the data module.

    Raises:
        ManifestError: there is no such file.
        ValueError: a covariate that the manifest lacks.
    """
    path, cells, problems = read_cells(path)
    if problems and not path.is_file():
        raise ManifestError(path, problems)
    table, found = (cells, []) if problems else check_table(cells, path.parent)
    problems = [*problems, *found]
    if not _is_complete(table):
        return Audit(path, _sorted(problems), {}, pd.DataFrame())
    chosen = default_covariates(table) if covariates is None else list(covariates)
    for name in chosen:
        if name not in table:
            known = ", ".join(map(str, table))
            raise ValueError(f"covariates: expected columns of {path}, got {name!r}; it has {known}")
    problems += [*subject_problems(table, chosen), *_split_problems(table)]
    tables = table_counts(table, chosen)
    store = None
    knees = table.assign(facts=_column(table, {}))
    if files:
        store = FactStore(cache_folder(cache, Manifest(table, path.parent, path)) / "audit")
        knees["facts"], read_problems = _read(table, path.parent, store, workers)
        hashes = {name: _hashes(knees["facts"], name) for name in ("content", "mirrored")}
        problems += read_problems
        problems += duplicate_problems(knees.assign(**hashes))
        problems += [*anatomy_problems(knees), *edge_problems(knees), *outlier_problems(knees)]
        tables |= file_tables(knees)
    return Audit(path, _sorted(problems), tables, knees, store, chosen)


def _is_complete(table: pd.DataFrame) -> bool:
    """True if the table could be checked: its classes are numbers then."""
    return list(table.columns).count(FINE) == 1 and pd.api.types.is_integer_dtype(table[FINE])


def _split_problems(table: pd.DataFrame) -> Iterator[Problem]:
    if (table["split"] == "").all():
        return
    for gap in balance_of(table, [class_column(table)]).missing:
        message = f"no knee of {gap.part} has {gap.name}, {gap.total} of the others do"
        yield Problem(message, column="split", severity="warning", kind="splits")


def _read(table: pd.DataFrame, root: Path, store: FactStore, workers: int) -> tuple[pd.Series, list[Problem]]:
    files = {index: files_of(root, row) for index, row in table.iterrows()}
    there = {index: known for index, known in files.items() if known is not None}
    facts: dict[Any, Any] = {}
    problems = []
    for index, known in zip(there, store.facts(list(there.values()), workers), strict=True):
        facts[index] = dict(known.facts)
        for finding in known.findings:
            kind = "label map" if finding.column == "cartilage" else "files"
            message = finding.message.replace(f"{root}{os.sep}", "")
            knee = str(table.at[index, "knee"])
            problems.append(Problem(message, row_number(index), knee, finding.column, finding.severity, kind))
    return _column(table, facts), problems


def _column(table: pd.DataFrame, facts: Mapping[Any, Any]) -> pd.Series:
    """Facts by row; an empty dictionary where there are none."""
    found: Any = [facts.get(index, {}) for index in table.index]
    return pd.Series(found, index=table.index, dtype=object)


def _hashes(facts: pd.Series, name: str) -> pd.Series:
    return facts.map(lambda known: known.get(name, ""))


def _sorted(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    named = [problem if problem.kind else replace(problem, kind="table") for problem in problems]
    return tuple(sorted(named, key=lambda p: (SEVERITIES.index(p.severity), p.row or 0)))
