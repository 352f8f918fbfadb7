"""``oahier data import``."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oahier.cli.next_steps import Step, say_next
from oahier.cli.options import INTERRUPTED, no_command
from oahier.cli.parser import ArgumentParser, function_parser
from oahier.hierarchy import DEFAULT_HIERARCHY, FINE, head_label
from oahier.intake.archives import size_words
from oahier.intake.candidate import ImportResult, LeftOut
from oahier.intake.options import ImportOptions

IMPORTERS = {
    "oaizib-cm": ("oaizib_cm", "OAIZIB-CM: 507 knees with label maps, unpacked or zipped"),
    "oai": ("oai", "the DICOM tree of the Osteoarthritis Initiative with its reading tables"),
    "oai-zib": ("oai_zib", "label maps of the Zuse Institute for OAI images"),
    "nifti": ("nifti", "a folder of NIfTI, NRRD or MetaImage files, with grades from a table"),
    "dicom": ("dicom", "a tree of DICOM series, such as a hospital's export"),
    "table": ("table", "any CSV, Excel or SAS table that says where the images are"),
}
"""Module and description of each importer; its function is ``import_`` and the module's name."""

USAGE = "\n".join(
    [
        "usage: oahier data import NAME SOURCE DEST [options]   (oahier data import NAME --help)", "",
        *(f"  {name:<10} {text}" for name, (_, text) in IMPORTERS.items()), "",
        "Opens every image, and writes DEST/manifest.csv, left-out.csv, import.json and data.yaml.",
        "The source is only read. Nothing is downloaded.",
    ]
)  # fmt: skip
_REASONS, _WORKERS = 12, 8


def run(words: list[str]) -> int:
    """Import, and say what came of it and what to do next.

    Returns:
        the exit status: 2 for an unknown importer, 130 if interrupted.
    """
    if words[:1] in ([], ["-h"], ["--help"]):
        print(USAGE)
        return 0
    if words[0] not in IMPORTERS:
        return no_command(words[0], IMPORTERS, "oahier data import")
    function = importer(words[0])
    options = import_parser(words[0], function).parse_args(words[1:]).as_dict()
    destination = options["destination"]
    try:
        result = function(options.pop("source"), options.pop("destination"), **options)
    except KeyboardInterrupt:
        print(
            f"\ninterrupted; what was done is kept in {destination}: run it again to go on", file=sys.stderr
        )
        return INTERRUPTED
    report(result)
    return 0


def importer(name: str) -> Callable[..., ImportResult]:
    """The function of an importer."""
    import oahier.intake

    function: Callable[..., ImportResult] = getattr(oahier.intake, f"import_{IMPORTERS[name][0]}")
    return function


def import_parser(name: str, function: Callable[..., Any]) -> ArgumentParser:
    """A parser with the options of an importer."""
    words = {"source": "SOURCE", "destination": "DEST"}
    parser = function_parser(f"oahier data import {name}", function, words, ImportOptions)
    parser.set_defaults(workers=min(os.cpu_count() or 1, _WORKERS))
    return parser


def report(result: ImportResult) -> None:
    """Print counts, what was left out by reason, where the files are and the next command."""
    counts = result.report["counts"]
    print(f"{counts['knees']} knees of {counts['subjects']} subjects, {counts['cartilage']} with label maps")
    table = Table(show_header=False)
    known = [level for level in DEFAULT_HIERARCHY.levels if set(counts[level]) != {"unknown"}]
    label = known[0] if known else FINE
    for title, name in ((head_label(label), label), ("side", "side"), ("visit", "visit"), ("split", "split")):
        if set(counts[name]) != {"unknown"} or name == label:
            table.add_row(title, ", ".join(f"{escape(key)}: {value}" for key, value in counts[name].items()))
    Console().print(table)
    for note in _shortened(result.report["notes"]):
        print(f"note: {note}")
    if result.left_out:
        print(f"left out: {len(result.left_out)}, listed in {result.folder / 'left-out.csv'}")
        for reason, items in _by_reason(result.left_out):
            named = ", ".join(item.knee or item.source for item in items[:4])
            more = f" and {len(items) - 4} more" * (len(items) > 4)
            print(f"  {len(items)} x {reason}  [{named}{more}]")
    written: Mapping[str, int] = result.report["written"]
    if written["files"]:
        print(f"written: {written['files']} images, {size_words(written['bytes'])}, in {result.folder}")
    else:
        print("no image was copied; the manifest points to the source")
    if result.report["licence"]:
        print(f"terms: {result.report['licence']}")
    manifest = result.folder / "manifest.csv"
    print(f"manifest: {manifest}")
    split = result.folder / "split.csv"
    has_splits = set(counts["split"]) != {"unknown"}
    divide: list[Step] = [(["data", "split", manifest, split], "training, validation and test by subject")]
    say_next(
        (
            ["data", "check", manifest, "--html", result.folder / "audit.html"],
            "leakage, outliers, thumbnails",
        ),
        *divide * (not has_splits),
        (["init", "--manifest", manifest if has_splits else split], "configurations to train with"),
    )


def _shortened(notes: list[str]) -> list[str]:
    """Notes that differ in numbers only are one."""
    groups = Counter(_without_digits(note) for note in notes)
    first = {_without_digits(note): note for note in reversed(notes)}
    shown = [f"{count} x {first[kind]}" if count > 1 else first[kind] for kind, count in groups.items()]
    more = len(shown) - _REASONS
    return shown if more <= 0 else [*shown[:_REASONS], f"and {more} more in import.json"]


def _by_reason(left_out: list[LeftOut]) -> list[tuple[str, list[LeftOut]]]:
    """Reasons that differ in names and numbers only are one; the most frequent first."""
    groups: dict[str, list[LeftOut]] = {}
    for item in left_out:
        groups.setdefault(_kind(item), []).append(item)
    sizes = Counter({kind: len(items) for kind, items in groups.items()})
    ordered = [(groups[kind][0].reason, groups[kind]) for kind, _ in sizes.most_common(_REASONS)]
    if len(sizes) > _REASONS:
        rest = [item for kind, _ in sizes.most_common()[_REASONS:] for item in groups[kind]]
        ordered.append(("other reasons", rest))
    return ordered


def _kind(item: LeftOut) -> str:
    reason = item.reason
    for name in (item.knee, item.subject, item.source, Path(item.source).name):
        reason = reason.replace(name, "") if name else reason
    return _without_digits(reason)


def _without_digits(text: str) -> str:
    return "".join(character for character in text if not character.isdecimal())
