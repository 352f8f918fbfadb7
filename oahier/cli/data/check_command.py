"""``oahier data check``."""

from __future__ import annotations

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oahier.data import check_manifest


def run(words: list[str]) -> int:
    """Print every finding; only errors, which would stop a training, make the status 1."""
    parser = ArgumentParser(
        prog="oahier data check",
        description="List all problems of a manifest; exits with status 1 if there are errors.",
    )
    parser.add_argument("manifest", type=str, help="the manifest's CSV file")
    path = parser.parse_args(words).manifest
    console = Console(soft_wrap=False)
    problems = check_manifest(path)
    if not problems:
        console.print(f"[green]no problems[/green] in {path}", soft_wrap=True)
        return 0
    errors = sum(problem.severity == "error" for problem in problems)
    title = f"{errors} errors and {len(problems) - errors} warnings in {path}"
    table = Table("row", "knee", "column", "", "problem", title=title, title_justify="left", show_lines=True)
    for problem in problems:
        table.add_row(
            "" if problem.row is None else str(problem.row),
            escape(problem.knee or ""),
            escape(problem.column or ""),
            problem.severity,
            escape(problem.message),
        )
    console.print(table)
    return 1 if errors else 0
