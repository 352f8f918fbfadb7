"""``oahier export``."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from oahier.cli.next_steps import say_next
from oahier.cli.parser import ArgumentParser
from oahier.export import FORMATS, Format, export_checkpoint
from oahier.export.programs import missing_packages


def export_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = ArgumentParser(
        prog="oahier export",
        description="Write a trained model for other tools; every file is compared with the checkpoint.",
    )
    parser.add_argument("checkpoint", type=str, help="a checkpoint of oahier, e.g. run/checkpoints/best.ckpt")
    parser.add_argument("folder", type=str, help="folder to write to")
    parser.add_argument(
        "--formats",
        type=list[Format] | None,
        default=None,
        help="some of " + ", ".join(FORMATS) + " (all for which packages are installed)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export and its card")
    return parser


def run_export_command(words: list[str]) -> int:
    """Export and print what was written."""
    options = export_parser().parse_args(words)
    missing = missing_packages() if options.formats is None else []
    formats = options.formats or [name for name in FORMATS if name != "onnx" or not missing]
    exported = export_checkpoint(options.checkpoint, options.folder, formats, overwrite=options.overwrite)
    table = Table("file", "size", "largest difference", title=f"Exported to {exported.folder}")
    table.title_justify = "left"
    for name, agreement in exported.agreements.items():
        size = (exported.folder / name).stat().st_size / 1e6
        table.add_row(name, f"{size:.1f} MB", f"{agreement.largest:.1e}")
    Console().print(table)
    if missing:
        print(f"No ONNX file: {' and '.join(missing)} not installed (pip install 'oahier[export]').")
    print(f"Model card: {exported.folder / 'README.md'}; complete it before you publish.")
    say_next((["predict", options.checkpoint, "scan.nii.gz"], "what users of the model should get"))
    return 0
