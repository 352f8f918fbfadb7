"""Result of an audit: findings, counts and facts, and its JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from oahier import __version__
from oahier.audit.facts_store import FactStore, Files
from oahier.files import write_json
from oahier.problems import SEVERITIES, Problem, Severity


@dataclass(frozen=True, eq=False)
class AuditResult:
    """Result of an audit.

    Args:
        source: the manifest.
        problems: findings, errors first, then by row.
        tables: counts and ranges by name, see :func:`~oahier.audit.counts.table_counts` and
            :func:`~oahier.audit.counts.file_tables`; none if the table could not be understood.
        knees: the manifest's table with a column ``facts`` (a dictionary per knee, empty where the volume was
            not read).
        store: pictures of the knees; ``None`` if the files were not read.
        covariates: columns that were counted by; each has a table of its name.
    """

    source: Path
    problems: tuple[Problem, ...]
    tables: Mapping[str, pd.DataFrame]
    knees: pd.DataFrame
    store: FactStore | None = None
    covariates: Sequence[str] = ()

    def of(self, severity: Severity) -> list[Problem]:
        """Findings of one severity."""
        return [problem for problem in self.problems if problem.severity == severity]

    @property
    def verdict(self) -> str:
        """Numbers of findings in words, such as "2 errors, 1 warning"."""
        counts = [(len(self.of(severity)), severity) for severity in SEVERITIES]
        words = [f"{count} {severity}{'s' * (count != 1)}" for count, severity in counts if count]
        return ", ".join(words) or "no problems"

    def to_json(self, path: str | Path) -> Path:
        """Write findings, tables and facts of every knee.

        Raises:
            OSError: the file cannot be written.
        """
        content = {
            "manifest": str(self.source),
            "oahier": __version__,
            "counts": {severity: len(self.of(severity)) for severity in SEVERITIES},
            "problems": [asdict(problem) for problem in self.problems],
            "tables": {name: table.to_dict("records") for name, table in self.tables.items()},
            "knees": self.knees.to_dict("records"),
        }
        return write_json(path, content)

    def files(self, position: int) -> Files | None:
        """Files of the knee at a position, ``None`` without a volume."""
        return files_of(self.source.parent, self.knees.iloc[position])


def files_of(root: Path, row: pd.Series) -> Files | None:
    """Files of a row that exist; what is missing has been said."""
    mri = root / row["mri"] if row["mri"] else None
    cartilage = root / row["cartilage"] if row["cartilage"] else None
    if mri is None or not mri.exists():
        return None
    return mri, cartilage if cartilage is not None and cartilage.exists() else None
