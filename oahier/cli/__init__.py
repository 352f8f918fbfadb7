"""The command line: ``oahier fit | validate | test | predict`` and ``oahier data phantom | check``."""

from oahier.cli.main import main

__all__ = ["main"]
