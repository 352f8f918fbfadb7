"""Everything that is wrong with a manifest and the files it names, at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from torch.utils.data import DataLoader, Dataset

from oahier.data.content import Finding, read_knee
from oahier.data.manifest import read_cells
from oahier.data.problems import Problem
from oahier.data.table import check_table, row_number


def check_manifest(path: str | Path, *, files: bool = True, num_workers: int = 0) -> list[Problem]:
    """List all problems of a manifest: of its table and, knee by knee, of its image files.

    Args:
        path: the manifest, or a folder that holds ``manifest.csv``.
        files: open the image files too.
        num_workers: processes that read them; 0 for this one.

    Returns:
        problems by row; none of severity ``"error"`` means that training can start.
    """
    path, cells, problems = read_cells(path)
    if problems:
        return problems
    table, problems = check_table(cells, path.parent)
    if files and "mri" in table and "cartilage" in table:
        problems += _file_problems(table, path.parent, num_workers)
    return sorted(problems, key=lambda problem: (problem.row or 0, problem.severity))


def _file_problems(table: pd.DataFrame, root: Path, num_workers: int) -> Iterator[Problem]:
    rows = [
        (index, str(row["knee"]), root / row["mri"], root / row["cartilage"] if row["cartilage"] else None)
        for index, row in table.iterrows()
        if row["mri"] and (root / row["mri"]).exists()
    ]
    loader = DataLoader(_Knees(rows), batch_size=None, num_workers=num_workers)
    for (index, knee, _, _), findings in zip(rows, loader, strict=True):
        for finding in findings:
            yield Problem(finding.message, row_number(index), knee, finding.column, finding.severity)


class _Knees(Dataset[list[Finding]]):
    def __init__(self, rows: list[tuple[object, str, Path, Path | None]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> list[Finding]:
        _, _, mri, cartilage = self._rows[index]
        return read_knee(mri, cartilage if cartilage is not None and cartilage.exists() else None)[1]
