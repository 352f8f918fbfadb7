"""Processes of cells, which end with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any

PARENT = "OAHIER_PARENT"
"""Environment variable with the id of the process that a process of a cell ends with."""
_PATIENCE = 10.0
"""Seconds that a process has to end after SIGTERM."""


def end_with_parent(every: float = 0.5) -> None:
    """End this process soon after the one that started it, even if that was killed.

    The id of the parent is looked at: the kernel's own signal for this (``PR_SET_PDEATHSIG``) is sent when
    the *thread* ends that started the process, and only on Linux.
    """
    expected = os.environ.pop(PARENT, "")
    if not expected:
        return

    def watch() -> None:
        while os.getppid() == int(expected):
            time.sleep(every)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_PATIENCE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Processes:
    """Processes that run, which end together."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.ended = False

    def wait(self, command: Sequence[str], **options: Any) -> int:
        """Exit status of a command; it is not started, and -SIGTERM, where all are to end."""
        with self._lock:
            if self.ended:
                return -signal.SIGTERM
            process = subprocess.Popen(command, **options)
            self._running.add(process)
        try:
            return process.wait()
        except BaseException:
            self.end()
            raise
        finally:
            self._running.discard(process)

    def end(self, patience: float = 5.0) -> None:
        """Ask all processes to end, and kill those that have not after ``patience`` seconds."""
        with self._lock:
            self.ended = True
            running = list(self._running)
        for process in running:
            process.terminate()
        last = time.monotonic() + patience
        for process in running:
            try:
                process.wait(max(0.0, last - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
