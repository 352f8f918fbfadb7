"""``oahier study run | status | report | cell``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from oahier.cli.next_steps import Step, say_next
from oahier.cli.options import checked, names, no_command
from oahier.cli.parser import ArgumentParser
from oahier.cli.study_size import run_size_command, size_parser
from oahier.specs import SpecError
from oahier.study import Cell, PlanError, definitive, read_plan, read_study, run_cell, run_study, status_table
from oahier.study.child_processes import end_with_parent
from oahier.study.executors import Executor, InProcess, ProcessPool, Slurm
from oahier.study.futures import make_futures
from oahier.study.methods import method_names
from oahier.study.presets import SUPERVISIONS
from oahier.study.runner import resolved_cells
from oahier.study.watch import watched

USAGE = """usage: oahier study COMMAND [options]

  run PLAN --out DIR   run every cell of a study that is not finished
  status DIR           show what has become of every cell
  report DIR           write the tables, figures and the page of a study
  size [A B]           say how many knees and seeds a difference needs"""

_EXECUTORS = ("process", "pool", "slurm", "local-slurm")


def run_study_command(words: list[str]) -> int:
    """Run one study command.

    Returns:
        0; 1 where a cell failed or is not finished.
    """
    if words[:1] in ([], ["-h"], ["--help"]):
        print(USAGE)
        return 0
    commands: dict[str, tuple[Callable[[], Any], Callable[[Any], int]]] = {
        "run": (run_parser, _run), "status": (status_parser, _status), "report": (report_parser, _report),
        "cell": (_cell_parser, _cell), "size": (size_parser, run_size_command),
    }  # fmt: skip
    if words[0] not in commands:
        return no_command(words[0], commands, "oahier study")
    parser, command = commands[words[0]]
    return command(parser().parse_args(words[1:]))


def run_parser() -> ArgumentParser:
    """The parser of ``oahier study run``."""
    parser = ArgumentParser(
        prog="oahier study run",
        description="Run every cell of a study that is not finished. Axes that have named levels: "
        f"backbone (encoders); supervision: {', '.join(SUPERVISIONS)}; {method_names()}.",
    )
    parser.add_argument("plan", type=str, help="the study's YAML file")
    parser.add_argument("--out", type=str, required=True, help="folder of the study; run again to go on")
    parser.add_argument(
        "--executor",
        type=str,
        default="process",
        help="process: one cell after another in this process; pool: several processes; slurm: cluster jobs; "
        "local-slurm: as slurm, on this machine; or the class of a concurrent.futures executor, such as "
        "distributed.Client (with --trust distributed)",
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
    parser.add_argument(
        "--executor-options",
        type=dict[str, Any],
        default={},
        help="arguments of an executor's class, e.g. '{address: tcp://scheduler:8786}'",
    )
    parser.add_argument("--check", action="store_true", help="check the plan and list its cells; run nothing")
    return parser


def status_parser() -> ArgumentParser:
    """The parser of ``oahier study status``."""
    parser = ArgumentParser(prog="oahier study status", description="Show what has become of every cell.")
    parser.add_argument("folder", type=str, help="folder of the study")
    parser.add_argument("--watch", action="store_true", help="go on until every cell has ended")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two looks with --watch")
    return parser


def report_parser() -> ArgumentParser:
    """The parser of ``oahier study report``."""
    parser = ArgumentParser(
        prog="oahier study report", description="Write the tables, figures and the page of a study."
    )
    parser.add_argument("folder", type=str, help="folder of the study")
    parser.add_argument(
        "--margin",
        type=list[str],
        default=[],
        help="largest difference that does not matter, e.g. '[qwk=0.05, accuracy=0.05]', or '[0.05]' for all",
    )
    parser.add_argument(
        "--covariates", type=str, default="",
        help="columns of the manifest to compare the severity axis with inside each grade, e.g. severity",
    )  # fmt: skip
    parser.add_argument(
        "--repeats", type=str, default="",
        help="columns whose equal cells mark scans of one knee with nothing changed, e.g. subject,side",
    )  # fmt: skip
    parser.add_argument(
        "--manifest", type=str | None, default=None, help="file with these columns (that of each cell)"
    )
    parser.add_argument("--umap", action="store_true", help="draw UMAP of the embeddings as well")
    parser.add_argument(
        "--viewer", action="store_true",
        help="write viewer.html as well, a viewer of the test knees' volumes (needs the extra 'viewer')",
    )  # fmt: skip
    parser.add_argument(
        "--correction", type=Literal["bh", "holm"], default="bh", help="correction for multiple testing"
    )
    return parser


def _cell_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="oahier study cell", description="Run one cell of a study, as the executors do."
    )
    parser.add_argument("folder", type=str, help="folder of the cell")
    return parser


def _run(options: Any) -> int:
    plan = read_plan(options.plan)
    console = Console()
    if options.check:
        return _list_cells(plan, console)
    started, outcomes = time.monotonic(), Counter[str]()
    total = len(plan.cells())
    with (
        watched(Path(options.out), console),
        closing(run_study(plan, options.out, _executor(options))) as ended,
    ):
        for number, (cell, outcome) in enumerate(ended, start=1):
            outcomes[outcome] += 1
            colour = {"finished": "green", "failed": "red"}.get(outcome, "yellow")
            line = f"[{number}/{total}] {escape(cell.name)} [{colour}]{outcome}[/{colour}]"
            if outcome == "failed":
                line += f": {escape(cell.error)}"
            if outcome == "running":
                line += " in another process"
            console.print(line, soft_wrap=True, highlight=False)
    seconds = time.monotonic() - started
    finished = outcomes["finished"]
    console.print(f"{finished} of {total} cells ended well after {seconds:.0f} s", highlight=False)
    watch: list[Step] = [(["study", "status", options.out, "--watch"], "what other processes do")]
    say_next(
        *watch * bool(outcomes["running"]),
        (["study", "report", options.out], "tables, figures and the page"),
    )
    return 0 if finished == total else 1


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
    if "." in options.executor:
        return make_futures(options.executor, options.executor_options)
    if options.executor not in _EXECUTORS:
        raise SpecError(
            f"--executor: expected {', '.join(_EXECUTORS)} or the path of a class, got {options.executor!r}"
        )
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
    from oahier.pages.niivue import chosen_niivue
    from oahier.statistics.margins import parse_margins
    from oahier.study.axis_columns import AxisColumns
    from oahier.study.covariate_arm import with_covariate_arm
    from oahier.study.folds import pooled
    from oahier.study.report import write_report
    from oahier.study.tables import write_tables

    chosen_niivue(options.viewer)  # before the tables are computed
    study = read_study(options.folder)
    if not any(cell.state == "finished" for cell in study.cells):
        raise PlanError(f"{options.folder}: no cell is finished; there is nothing to report")
    told = pooled(study)
    if told.preset == definitive.NAME:
        told = with_covariate_arm(study, told)
    columns = AxisColumns(
        names(options.covariates), names(options.repeats),
        None if options.manifest is None else Path(options.manifest),
    )  # fmt: skip
    write_tables(told, correction=options.correction, margins=parse_margins(options.margin), columns=columns)
    page = write_report(told.folder, umap=options.umap, viewer=options.viewer)
    print(page)
    if _all_finished(study.cells):
        print("next: open the page; tables/ and figures/ beside it hold what a paper needs")
    else:
        say_next((["study", "status", study.folder], "the cells that are not finished"))
    return 0 if _all_finished(study.cells) else 1


def _cell(options: Any) -> int:
    end_with_parent()
    return 0 if run_cell(options.folder) == "finished" else 1
