"""Reports of a broken contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class ContractError(AssertionError):
    """A plug-in does not do what its contract asks; the message says what to change."""


def require(holds: bool, message: str) -> None:
    """Raise :class:`ContractError` unless ``holds``.

    >>> require(True, "never seen")
    """
    if not holds:
        raise ContractError(message)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever is raised inside into a :class:`ContractError` that names the call.

    >>> with explained("1 / 0"):
    ...     1 / 0
    Traceback (most recent call last):
    oahier.testing.contract.ContractError: 1 / 0 raised ZeroDivisionError: division by zero
    """
    try:
        yield
    except ContractError:
        raise
    except Exception as error:
        raise ContractError(f"{what} raised {type(error).__name__}: {error}") from error


def same(first: Tensor, second: Tensor, tolerance: float = 1e-5) -> bool:
    """Equal shape, and equal values up to a tolerance relative to the largest one.

    >>> same(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.1]))
    False
    """
    if first.shape != second.shape:
        return False
    scale = float(first.detach().abs().max()) if first.numel() else 0.0
    return torch.allclose(first, second, rtol=0, atol=tolerance * max(scale, 1e-3), equal_nan=True)
