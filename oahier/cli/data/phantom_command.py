"""``oahier data phantom``."""

from __future__ import annotations

from jsonargparse import ArgumentParser
from rich.console import Console

from oahier.phantom import make_phantoms


def phantom_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = ArgumentParser(
        prog="oahier data phantom", description="Write phantom knees as NIfTI files with a manifest."
    )
    parser.add_argument("folder", type=str, help="folder to write to; what is there already is kept")
    parser.add_function_arguments(make_phantoms, as_group=False, fail_untyped=False, skip={"folder"})
    return parser


def run(words: list[str]) -> int:
    """Write phantoms and say where their manifest is."""
    manifest = make_phantoms(**phantom_parser().parse_args(words).as_dict())
    Console().print(f"{len(manifest)} phantom knees: {manifest.path}", soft_wrap=True)
    return 0
