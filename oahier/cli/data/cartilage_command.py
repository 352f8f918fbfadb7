"""``oahier data cartilage``: thickness and volume of the cartilage as columns of a manifest."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from oahier.cli.next_steps import say_next
from oahier.cli.options import checked
from oahier.cli.parser import ArgumentParser
from oahier.data import read_manifest
from oahier.data.cartilage_columns import CARTILAGE_COLUMNS, with_cartilage_columns
from oahier.hierarchy import FINE, head_label
from oahier.types import MISSING


def cartilage_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = ArgumentParser(
        prog="oahier data cartilage",
        description="Measure mean thickness (mm) and volume (mm3) of the femoral and both tibial cartilages "
        "in the label maps of a manifest, and write it with these columns. They are covariates, to which the "
        "severity axis can be compared inside one grade.",
    )
    parser.add_argument("manifest", type=str, help="the manifest's CSV file, or its folder")
    parser.add_argument("out", type=str, help="CSV file to write")
    parser.add_argument("--workers", type=int, default=0, help="processes that measure; 0 for this one")
    parser.add_argument("--overwrite", action="store_true", help="replace what OUT holds")
    return parser


def run(words: list[str]) -> int:
    """Measure, write, and print the means by grade.

    Raises:
        ManifestError: a manifest that cannot be read, or label maps that cannot.
        FileExistsError: the output is there and may not be replaced.
    """
    options = cartilage_parser().parse_args(words)
    out, workers = Path(options.out), checked("--workers", options.workers, 0)
    if out.exists() and not options.overwrite:
        raise FileExistsError(f"{out} is there already; choose another name or give --overwrite")
    manifest = with_cartilage_columns(read_manifest(options.manifest), workers=workers, progress=True)
    Console(highlight=False).print(_table(manifest.table))
    manifest.write(out)
    print(f"wrote {out}")
    say_next((["init", "--manifest", out], "configurations to train with"))
    return 0


def _table(knees: pd.DataFrame) -> Table:
    """Means by grade, and how many knees have each."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title="means", title_justify="left")
    groups = {
        "no grade" if grade == MISSING else f"{head_label(FINE)} {grade}": part
        for grade, part in knees.groupby(FINE)
    }
    groups = groups | {"all": knees} if len(groups) > 1 else {"all": knees}
    table.add_column("")
    for name in groups:
        table.add_column(name, justify="right")
    for column in CARTILAGE_COLUMNS:
        digits = 2 if column.endswith("_mm") else 0
        cells = [
            f"{part[column].mean():.{digits}f}" if part[column].notna().any() else ""
            for part in groups.values()
        ]
        table.add_row(column, *cells)
    table.add_row(
        "knees with a label map", *(str(int((part["cartilage"] != "").sum())) for part in groups.values())
    )
    return table
