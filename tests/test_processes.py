"""Work of other processes: in order, without a random number, and clear about a process that was killed."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from oahier.processes import made_ahead


def doubled(number: int) -> int:
    if number < 0:
        raise RuntimeError(f"negative: {number}")
    if number > 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_order_and_random_states_stay(workers: int) -> None:
    state = torch.get_rng_state()
    assert list(made_ahead(doubled, range(7), workers)) == [0, 2, 4, 6, 8, 10, 12]
    assert list(made_ahead(doubled, [], workers)) == []
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_goes_wrong_keeps_its_kind(workers: int) -> None:
    with pytest.raises(RuntimeError, match="negative: -1"):
        list(made_ahead(doubled, [1, -1], workers))


def test_a_killed_process_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="a process was killed, perhaps for its memory: use fewer"):
        list(made_ahead(doubled, [1, 101], 2))
