"""Run the benchmarks and print one table of ratios.

python -m benchmarks [--only NAME ...] [--quick] [--out FILE.md|FILE.json]

A ratio is the median over rounds in which both sides run one after the other. "CPU ratio" divides
processor seconds instead of wall seconds. Needs the extra ``test`` (captum).
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.harness import Comparison
from benchmarks.heads import heads
from benchmarks.importing import importing
from benchmarks.loading import loading
from benchmarks.methods import methods
from benchmarks.report import terminal_table, write
from benchmarks.saliency import saliency
from benchmarks.scan import scan
from benchmarks.statistics import statistics
from benchmarks.training import training_step
from benchmarks.validation import validation

BENCHMARKS: dict[str, Callable[[bool], list[Comparison]]] = {
    "import": importing,
    "training": training_step,
    "heads": heads,
    "validation": validation,
    "methods": methods,
    "saliency": saliency,
    "loading": loading,
    "scan": scan,
    "statistics": statistics,
}


def main(arguments: Sequence[str] | None = None) -> list[Comparison]:
    """Run what was asked for; returns the comparisons."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=sorted(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that everything runs; says nothing"
    )
    parser.add_argument("--out", type=Path, help="also write the figures, as .md or .json")
    options = parser.parse_args(arguments)
    if options.out and options.out.suffix not in (".md", ".json"):
        parser.error(f"--out: expected a file that ends in .md or .json, got {options.out}")
    results: list[Comparison] = []
    console = Console(stderr=True)
    for name in options.only:
        console.print(f"measuring: {name}")
        made = BENCHMARKS[name](options.quick)
        results += [replace(result, goal=None) for result in made] if options.quick else made
    Console(width=200).print(terminal_table(results))
    if options.out:
        write(options.out, results)
    return results


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    main()
