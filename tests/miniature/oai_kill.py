"""Kill the extraction of packed series at every step: ``oai_kill.py BEFORE DESTINATION RIGHT LEFT``.

``DESTINATION/1`` and its like become copies of the import ``BEFORE``, in each of which the archives of both
knees were extracted by a process that was killed one step later than in the one before.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oahier.intake.oai_extracted as extracted
from oahier.file_facts import FileFacts
from oahier.intake.candidate import Candidate


def dying(function: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        calls[0] -= 1
        if calls[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return call


def extract(folder: Path, archives: list[Path], last: int) -> None:
    calls = [last]
    extracted.unpack = dying(extracted.unpack, calls)
    FileFacts.add = dying(FileFacts.add, calls)  # type: ignore[method-assign]
    os.replace, shutil.rmtree = dying(os.replace, calls), dying(shutil.rmtree, calls)
    knees = [
        Candidate(f"9000099-{side}-V00", "9000099", side, "V00", archive)
        for side, archive in zip(("right", "left"), archives, strict=True)
    ]
    extracted.remove_unused(folder, extracted.unpack_all(knees, folder, 0, False)[0])


def main(before: Path, destination: Path, *archives: Path) -> None:
    last, status = 0, 1
    while status:
        last += 1
        shutil.copytree(before, destination / str(last))
        if os.fork() == 0:
            extract(destination / str(last), list(archives), last)
            os._exit(0)
        status = os.wait()[1]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
