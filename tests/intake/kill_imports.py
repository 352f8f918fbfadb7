"""Kill an import again and again: ``kill_imports.py SOURCE DESTINATION KILLS WORKERS``.

The import runs in a copy of this process, which is killed once as many files are remembered as drawn. Where
it gets to its end before, its destination is removed, and it is killed earlier.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from oahier.intake import import_oaizib_cm


def remembered(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (folder / ".import").glob("*.jsonl"))


def main(source: str, destination: str, kills: int, workers: int) -> None:
    folder, draw, done = Path(destination), random.Random(0), 0
    while done < kills:
        start = remembered(folder)
        target = start + draw.randrange(1, 8)
        pid = os.fork()
        if pid == 0:
            try:
                import_oaizib_cm(source, destination, workers=workers, progress=False)
            finally:
                os._exit(0)
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if remembered(folder) >= target:
                time.sleep(draw.random() * 0.004)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                done += 1
                break
            time.sleep(0.0005)
        else:
            shutil.rmtree(folder)
    print("killed", done)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
