"""List of the errors and warnings of a manifest and the files it names."""

from __future__ import annotations

from pathlib import Path

from oahier.audit.audit import audit_manifest
from oahier.problems import ManifestError, Problem


def check_manifest(path: str | Path, *, files: bool = True, num_workers: int = 0) -> list[Problem]:
    """List the errors and warnings of an audit: of the table and, knee by knee, of the image files.

    Args:
        path: the manifest, or a folder that holds ``manifest.csv``.
        files: read the image files too; those read before and unchanged are not read again.
        num_workers: processes that read them; 0 for this one.

    Returns:
        problems by row; none of severity ``"error"`` means that training can start.
    """
    try:
        problems = audit_manifest(path, files=files, workers=num_workers).problems
    except ManifestError as error:
        problems = error.problems
    found = [problem for problem in problems if problem.severity != "note"]
    return sorted(found, key=lambda problem: (problem.row or 0, problem.severity))
