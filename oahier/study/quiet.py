"""Keeping a terminal for the study's own lines while many trainings run."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

_EXPECTED = (
    ".*isinstance.treespec, LeafSpec.*",  # Lightning 2.6 calls a deprecated function of torch every batch
    ".*callbacks used to create the checkpoint need to be provided.*",  # testing needs fewer than training
    ".*does not have many workers.*",
    ".*is smaller than the logging interval.*",
    ".*Checkpoint directory .* exists and is not empty.*",
)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Send Lightning's messages to log files only, and drop warnings about what is meant."""
    log = logging.getLogger("lightning.pytorch")
    shown = [handler for handler in log.handlers if type(handler) is logging.StreamHandler]
    propagate = log.propagate
    for handler in shown:
        log.removeHandler(handler)
    log.propagate = False
    try:
        with warnings.catch_warnings():
            for message in _EXPECTED:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        log.propagate = propagate
        for handler in shown:
            log.addHandler(handler)
