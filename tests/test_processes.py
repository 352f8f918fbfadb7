"""The process map: ordered, lazy, without a random number, clear about killed processes, interruptible."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from oahier.processes import ProcessKilled, process_map


def doubled(number: int) -> int:
    if number < 0:
        raise RuntimeError(f"negative: {number}")
    if number > 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_order_and_random_states_stay(workers: int) -> None:
    state = torch.get_rng_state()
    assert list(process_map(doubled, range(7), workers)) == [0, 2, 4, 6, 8, 10, 12]
    assert list(process_map(doubled, [], workers)) == []
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_goes_wrong_keeps_its_kind(workers: int) -> None:
    with pytest.raises(RuntimeError, match="negative: -1") as caught:
        list(process_map(doubled, [1, -1], workers, name=lambda number: f"number {number}"))
    if workers:
        assert caught.value.__notes__ == ["while a process worked on number -1"]


def test_a_killed_process_is_named_with_its_items() -> None:
    with pytest.raises(
        ProcessKilled, match=r"killed, perhaps for its memory: use fewer than 2 .it worked on 101"
    ):
        list(process_map(doubled, [1, 101], 2))


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="expected workers of 0 or more, got -1"):
        next(process_map(doubled, [1], -1))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_no_more_items_are_taken_than_there_is_room_for(workers: int) -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number % 100

    results = process_map(doubled, endless(), workers, ahead=3)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert len(taken) == 4 + max(1, 3 * workers)
    results.close()


_SCRIPT = """
import os, pathlib, sys, time
from oahier.processes import process_map
folder = pathlib.Path(sys.argv[1])
def work(number):
    (folder / f"{os.getpid()}").touch()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        (folder / f"{os.getpid()}.interrupted").touch()
        raise
if __name__ == "__main__":
    list(process_map(work, range(8), 2))
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_stays_behind(tmp_path: Path, sent: signal.Signals) -> None:
    """Ctrl-C, which reaches every process of a terminal, or the end of the main process only."""
    script, folder = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(_SCRIPT)
    folder.mkdir()
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as main:
        while len(list(folder.iterdir())) < 2:
            time.sleep(0.05)
        workers = [int(path.name) for path in folder.iterdir()]
        (os.killpg if sent == signal.SIGINT else os.kill)(main.pid, sent)
        _, errors = main.communicate(timeout=50)
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        time.sleep(0.05)  # until the test's timeout
    if sent == signal.SIGINT:
        assert len(list(folder.glob("*.interrupted"))) == 2  # and could clear up
        assert errors.count("Traceback") == 1, errors
