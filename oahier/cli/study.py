"""``oahier study run | status | report | cell``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from oahier.cli.options import checked
from oahier.study import Cell, PlanError, read_plan, read_study, run_cell, run_study, status_table
from oahier.study.executors import Executor, InProcess, ProcessPool, Slurm
from oahier.study.runner import resolved_cells

ExecutorName = Literal["process", "pool", "slurm", "local-slurm"]


def run_study_command(words: list[str]) -> int:
    """Run one study command.

    Returns:
        0; 1 where a cell failed or is not finished.
    """
    options = study_parser().parse_args(words)
    chosen = options[options.subcommand]
    return {"run": _run, "status": _status, "report": _report, "cell": _cell}[options.subcommand](chosen)


def study_parser() -> ArgumentParser:
    """The parser of all study commands."""
    parser = ArgumentParser(prog="oahier study", description="Run and report a study.", exit_on_error=True)
    commands = parser.add_subcommands()
    for name, subparser in (
        ("run", _run_parser()), ("status", _status_parser()), ("report", _report_parser()),
        ("cell", _cell_parser()),
    ):  # fmt: skip
        commands.add_subcommand(name, subparser)
    return parser


def _run_parser() -> ArgumentParser:
    parser = ArgumentParser(description="Run every cell of a study that is not finished.")
    parser.add_argument("plan", type=str, help="the study's YAML file")
    parser.add_argument("--out", type=str, required=True, help="folder of the study; run again to go on")
    parser.add_argument(
        "--executor",
        type=ExecutorName,
        default="process",
        help="process: one cell after another in this process; pool: several processes; slurm: cluster jobs; "
        "local-slurm: as slurm, on this machine",
    )
    parser.add_argument("--workers", type=int, default=2, help="cells at a time in a pool")
    parser.add_argument(
        "--threads", type=int | None, default=None, help="processor threads of each cell in a pool"
    )
    parser.add_argument(
        "--slurm",
        type=dict[str, Any],
        default={},
        help="job parameters, e.g. '{timeout_min: 600, gpus_per_node: 1}'",
    )
    parser.add_argument("--check", action="store_true", help="check the plan and list its cells; run nothing")
    return parser


def _status_parser() -> ArgumentParser:
    parser = ArgumentParser(description="Show what has become of every cell.")
    parser.add_argument("folder", type=str, help="folder of the study")
    parser.add_argument("--watch", action="store_true", help="go on until every cell has ended")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two looks")
    return parser


def _report_parser() -> ArgumentParser:
    parser = ArgumentParser(description="Write the tables, figures and the page of a study.")
    parser.add_argument("folder", type=str, help="folder of the study")
    parser.add_argument("--resamples", type=int, default=10_000, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, default=42, help="seed of the resampling")
    parser.add_argument("--umap", action="store_true", help="draw UMAP of the embeddings as well")
    parser.add_argument("--correction", type=Literal["bh", "holm"], default="bh", help="of multiple testing")
    return parser


def _cell_parser() -> ArgumentParser:
    parser = ArgumentParser(description="Run one cell of a study, as the executors do.")
    parser.add_argument("folder", type=str, help="folder of the cell")
    return parser


def _run(options: Any) -> int:
    plan = read_plan(options.plan)
    console = Console()
    if options.check:
        return _list_cells(plan, console)
    started, failed = time.monotonic(), []
    total = len(plan.cells())
    for number, (cell, outcome) in enumerate(run_study(plan, options.out, _executor(options)), start=1):
        colour = {"finished": "green", "failed": "red"}.get(outcome, "yellow")
        line = f"[{number}/{total}] {escape(cell.name)} [{colour}]{outcome}[/{colour}]"
        if outcome == "failed":
            failed.append(cell.name)
            line += f": {escape(cell.error)}"
        console.print(line, soft_wrap=True, highlight=False)
    seconds = time.monotonic() - started
    console.print(f"{total - len(failed)} of {total} cells ended well after {seconds:.0f} s", highlight=False)
    console.print(f"next: oahier study report {escape(str(options.out))}", soft_wrap=True, highlight=False)
    return 1 if failed else 0


def _list_cells(plan: Any, console: Console) -> int:
    cells = resolved_cells(plan)
    for cell, _ in cells:
        console.print(cell.name, highlight=False)
    console.print(f"{len(cells)} cells, each configuration is valid", highlight=False)
    return 0


def _executor(options: Any) -> Executor:
    if options.executor == "process":
        return InProcess()
    if options.executor == "pool":
        return ProcessPool(checked("--workers", options.workers, 1), options.threads)
    cluster = "local" if options.executor == "local-slurm" else None
    return Slurm(Path(options.out) / "jobs", cluster=cluster, parameters=options.slurm)


def _status(options: Any) -> int:
    study = read_study(options.folder)
    console = Console()
    if not options.watch:
        console.print(status_table(study))
    else:
        with Live(status_table(study), console=console, refresh_per_second=4) as live:
            while any(cell.state in ("waiting", "running") for cell in study.cells):
                time.sleep(max(0.1, options.every))
                live.update(status_table(study))
            live.update(status_table(study))
    return 0 if _all_finished(study.cells) else 1


def _all_finished(cells: Iterable[Cell]) -> bool:
    return all(cell.state == "finished" for cell in cells)


def _report(options: Any) -> int:
    from oahier.study.report import write_report
    from oahier.study.tables import write_tables

    study = read_study(options.folder)
    if not any(cell.state == "finished" for cell in study.cells):
        raise PlanError(f"{options.folder}: no cell is finished; there is nothing to report")
    checked("--resamples", options.resamples, 1)
    write_tables(study, resamples=options.resamples, seed=options.seed, correction=options.correction)
    page = write_report(study.folder, umap=options.umap)
    Console().print(f"{page}", soft_wrap=True, highlight=False)
    return 0 if _all_finished(study.cells) else 1


def _cell(options: Any) -> int:
    return 0 if run_cell(options.folder) == "finished" else 1
