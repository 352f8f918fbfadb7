"""Damaged files of every kind given to every command; ``python -m fuzzing 1000`` runs more of them."""

from __future__ import annotations

import pytest
from fuzzing import run


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_bad_input_ends_in_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = run(60, seed=0)
    with capfd.disabled():
        print("\n60 bad inputs:", dict(sorted(outcome.statuses.items())))
    assert outcome.failures == []
    assert outcome.statuses["status 2"] > 10
