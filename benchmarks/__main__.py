"""Run the benchmarks and print one table of ratios.

python -m benchmarks [--only NAME ...] [--quick] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Comparison
from benchmarks.importing import importing
from benchmarks.loading import loading
from benchmarks.saliency import saliency
from benchmarks.training import training_step
from benchmarks.validation import validation

BENCHMARKS: dict[str, Callable[[bool], list[Comparison]]] = {
    "import": importing,
    "training": training_step,
    "validation": validation,
    "saliency": saliency,
    "loading": loading,
}


def table(results: list[Comparison]) -> Table:
    """One row a comparison."""
    made = Table(
        "what", "over", "ratio", "rounds", "goal", "met", "sizes",
        title=f"Ratios of wall seconds, median of rounds in turn ({torch.get_num_threads()} threads)",
    )  # fmt: skip
    for result in results:
        sign = ">=" if result.larger_is_better else "<="
        goal = "" if result.goal is None else f"{sign} {result.goal:g}"
        met = {None: "", True: "yes", False: "[red]no[/red]"}[result.met]
        spread = f"{min(result.ratios):.3g} to {max(result.ratios):.3g}"
        made.add_row(result.name, result.over, f"{result.ratio:.3g}", spread, goal, met, result.note)
    return made


def main(arguments: list[str] | None = None) -> list[Comparison]:
    """Run what was asked for; returns the comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=sorted(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args(arguments)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    os.environ.setdefault("TQDM_DISABLE", "1")
    results: list[Comparison] = []
    for name in options.only:
        results += BENCHMARKS[name](options.quick)
    Console(width=170).print(table(results))
    if options.out:
        records = [{**asdict(result), "ratio": result.ratio, "met": result.met} for result in results]
        options.out.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    return results


if __name__ == "__main__":
    main()
