"""``oahier data ...``: make, import, check, split, plan and cache knees; compare and doubt their labels."""

from __future__ import annotations

import importlib

from oahier.cli.options import no_command

_COMMANDS = {
    "phantom": "write phantom knees",
    "import": "make a manifest from a data set on disk (oahier data import --help)",
    "check": "audit a manifest and the files it names",
    "split": "assign subjects to training, validation and test",
    "plan": "propose volume size, batch, network and epochs",
    "cache": "preprocess knees ahead of training",
    "cartilage": "measure the cartilage in the label maps, as columns",
    "readings": "compare readers, estimate how they err, write the consensus",
    "doubt": "find doubtful training labels from out-of-fold predictions",
}
_WIDTH = max(map(len, _COMMANDS)) + 2
USAGE = "\n".join(
    [
        "usage: oahier data COMMAND [options]",
        "",
        *(f"  {name:<{_WIDTH}}{text}" for name, text in _COMMANDS.items()),
    ]
)


def run_data_command(words: list[str]) -> int:
    """Run one data command; each lives in a module of this package, imported when it is called.

    Returns:
        the exit status.
    """
    if words[:1] in ([], ["-h"], ["--help"]):
        print(USAGE)
        return 0
    if words[0] not in _COMMANDS:
        return no_command(words[0], _COMMANDS, "oahier data")
    module = importlib.import_module(f"oahier.cli.data.{words[0]}_command")
    status: int = module.run(words[1:])
    return status
