"""``oahier data check``."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from oahier.audit import Audit, audit_manifest
from oahier.cli.next_steps import Step, say_next
from oahier.cli.options import checked, names
from oahier.cli.parser import ArgumentParser
from oahier.data.manifest.manifest import read_cells
from oahier.problems import SEVERITIES, Problem, Severity

_SHOWN = 6
"""Findings of a kind that are printed; pages and JSON hold them all."""
_LONGEST = 24
"""Rows of a table that are printed."""
_COLOURS = {"error": "red", "warning": "yellow", "note": "blue"}


def check_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = ArgumentParser(
        prog="oahier data check",
        description="Audit a manifest and the files it names. Exits with status 0 without errors, 1 with "
        "errors (--strict: or warnings), 2 if there is no such manifest.",
    )
    parser.add_argument("manifest", type=str, help="the manifest's CSV file, or its folder")
    parser.add_argument("--html", type=str, default=None, help="page to write, with pictures")
    parser.add_argument("--json", type=str, default=None, help="file for findings, tables and measurements")
    parser.add_argument("--workers", type=int, default=0, help="processes that read; 0 for this one")
    parser.add_argument("--no-files", action="store_true", help="look at the table only")
    parser.add_argument("--covariates", type=str, default=None, help="columns to count by, such as sex,site")
    parser.add_argument("--cache", type=str, default=None, help="folder that remembers what was read")
    parser.add_argument("--strict", action="store_true", help="warnings, too, give status 1")
    return parser


def run(words: list[str]) -> int:
    """Audit, print, and write what was asked for."""
    options = check_parser().parse_args(words)
    audit = audit_manifest(
        options.manifest,
        workers=checked("--workers", options.workers, 0),
        covariates=None if options.covariates is None else names(options.covariates),
        files=not options.no_files,
        cache=options.cache,
    )
    _print(Console(highlight=False), audit)
    if options.json:
        print(f"wrote {audit.to_json(options.json)}")
    if options.html:
        print(f"wrote {audit.to_html(options.html)}")
    if "cohort" in audit.tables and not audit.of("error"):
        manifest = Path(options.manifest)
        manifest = manifest / "manifest.csv" if manifest.is_dir() else manifest
        has_splits = "split" in read_cells(manifest)[1]
        divided = manifest if has_splits else manifest.with_name("split.csv")
        divide: list[Step] = [(["data", "split", manifest, divided], "by subject, with the balance reached")]
        say_next(
            *divide * (not has_splits), (["init", "--manifest", divided], "configurations to train with")
        )
    return 1 if audit.of("error") or (options.strict and audit.of("warning")) else 0


def _print(console: Console, audit: Audit) -> None:
    colour = "red" if audit.of("error") else "yellow" if audit.of("warning") else "green"
    console.print(f"[bold {colour}]{audit.verdict}[/] in {escape(str(audit.source))}", soft_wrap=True)
    if "cohort" in audit.tables:
        cohort = audit.tables["cohort"].iloc[-1]
        visits = f", {cohort['visits']} visits" if cohort["visits"] > 1 else ""
        console.print(
            f"{cohort['knees']} knees of {cohort['subjects']} subjects{visits}; {cohort['right']} right, "
            f"{cohort['left']} left; {cohort['with label map']} with label maps"
        )
        for name in ("grades", *audit.covariates):
            console.print(Padding(_counts(audit.tables[name]), (1, 0, 0, 2)))
    for severity in SEVERITIES:
        _print_severity(console, severity, audit.of(severity))


def _counts(counts: pd.DataFrame) -> Table:
    """Words on the left, numbers on the right; a value that stands above is not repeated."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, caption_justify="left")
    for name, column in counts.items():
        title = "" if name == "grade" else str(name)
        table.add_column(title, justify="right" if is_numeric_dtype(column) else "left")
    above = None
    for first, *rest in counts.head(_LONGEST).itertuples(index=False):
        table.add_row("" if first == above else escape(str(first)), *(escape(str(cell)) for cell in rest))
        above = first
    if len(counts) > _LONGEST:
        table.caption = f"and {len(counts) - _LONGEST} more rows: --html or --json lists all"
    return table


def _print_severity(console: Console, severity: Severity, problems: list[Problem]) -> None:
    for kind, group in groupby(sorted(problems, key=lambda problem: problem.kind), lambda p: p.kind):
        found = list(group)
        console.print(f"\n[bold {_COLOURS[severity]}]{severity}[/]  [bold]{kind}[/]  ({len(found)})")
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, justify="right")
        table.add_column(overflow="fold")
        for problem in found[:_SHOWN]:
            place = f"row {problem.row}" if problem.row is not None else ""
            knee = f"[bold]{escape(problem.knee)}[/]: " if problem.knee else ""
            column = f"{escape(problem.column)}: " if problem.column and kind == "table" else ""
            table.add_row(place, f"{knee}{column}{escape(problem.message)}")
        if len(found) > _SHOWN:
            table.add_row("", f"[dim]and {len(found) - _SHOWN} more: --html or --json lists all[/]")
        console.print(Padding(table, (0, 0, 0, 2)))
