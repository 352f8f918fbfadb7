"""Requests to end that come from outside: SIGTERM as an exception, and errors that it or Ctrl-C left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Request:
    """What a signal's handler may set at any moment, which a lock would not allow."""

    came = False


class Terminated(BaseException):
    """The process was asked to end (SIGTERM)."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Raise :class:`Terminated` where SIGTERM arrives, in evaluation too, which Lightning does not stop."""

    def end(*_: Any) -> None:
        _Request.came = True
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        _Request.came = False


def interruption(error: BaseException) -> BaseException | None:
    """The request to end behind an error: :class:`Terminated`, ``KeyboardInterrupt``, or none.

    A request arrives in the midst of anything. What is cleaned up on the way out can fail on work half done,
    and a module in C that was being imported makes an ``ImportError`` of it: such errors are no fault of the
    work.

    Ask within :func:`ended_by_sigterm`, which forgets a request when it is left.

    >>> try:
    ...     try:
    ...         raise Terminated
    ...     finally:
    ...         open("no such file")
    ... except OSError as error:
    ...     interruption(error)
    Terminated()
    >>> interruption(ValueError("of the work"))
    """
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, KeyboardInterrupt | Terminated):
        seen = seen.__cause__ or seen.__context__
    return seen or (Terminated() if _Request.came else None)
