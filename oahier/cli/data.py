"""``oahier data phantom`` and ``oahier data check``."""

from __future__ import annotations

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oahier.data import check_manifest
from oahier.data.phantom import make_phantoms


def run_data_command(words: list[str]) -> int:
    """Run one data command.

    Returns:
        0, or 1 where ``check`` found errors.
    """
    parser = ArgumentParser(prog="oahier data", description="Make and check data.")
    commands = parser.add_subcommands()
    phantom = ArgumentParser(description="Write phantom knees as NIfTI files with a manifest.")
    phantom.add_argument("folder", type=str, help="folder to write to; what is there already is kept")
    phantom.add_function_arguments(make_phantoms, as_group=False, fail_untyped=False, skip={"folder"})
    commands.add_subcommand("phantom", phantom)
    check = ArgumentParser(
        description="List all problems of a manifest; exits with status 1 if there are errors."
    )
    check.add_argument("manifest", type=str, help="the manifest's CSV file")
    commands.add_subcommand("check", check)
    options = parser.parse_args(words)
    if options.subcommand == "check":
        return _check(options.check.manifest)
    manifest = make_phantoms(**options.phantom.as_dict())
    Console().print(f"{len(manifest)} phantom knees: {manifest.path}", soft_wrap=True)
    return 0


def _check(path: str) -> int:
    """Print every finding; only errors, which would stop a training, make the status 1."""
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
