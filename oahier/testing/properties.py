"""Properties that components must have, each as one assertion that names what does not hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from oahier.hierarchy import DEFAULT_HIERARCHY, Hierarchy
from oahier.specs import build, describe
from oahier.testing.contract import explained, require, same

T = TypeVar("T")


def rebuilt(name: str, component: object, kind: type[T]) -> T:
    """A component rebuilt from its serial form, as checkpoints do."""
    with explained(f"{name}: its serial form (checkpoints hold it)"):
        description = describe(component)
        json.dumps(description)
    with explained(f"{name}: rebuilding it from {description}"):
        return build(description, kind)


def assert_probabilities(name: str, log_probabilities: Tensor, probabilities: Tensor, note: str = "") -> None:
    """Rows of probabilities that sum to one, and whose logarithms the other tensor holds.

    >>> assert_probabilities("MyHead", torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.5, 0.5]]))
    """
    require(bool(probabilities.isfinite().all()), f"{name}.probabilities: not finite {note}")
    require(bool((probabilities >= 0).all()), f"{name}.probabilities: negative {note}")
    sums = probabilities.sum(dim=1)
    require(
        torch.allclose(sums, torch.ones_like(sums), atol=1e-4),
        f"{name}.probabilities: expected rows that sum to one {note}, "
        f"got sums from {float(sums.min()):.5g} to {float(sums.max()):.5g}",
    )
    require(not bool(log_probabilities.isnan().any()), f"{name}.log_probabilities: NaN {note}")
    require(
        log_probabilities.shape == probabilities.shape
        and torch.allclose(log_probabilities.exp(), probabilities, atol=1e-5),
        f"{name}.log_probabilities: expected the logarithms of its probabilities {note}",
    )


def assert_coherent(
    fine: Tensor, coarse: Tensor, *, levels: tuple[str, str], hierarchy: Hierarchy = DEFAULT_HIERARCHY
) -> None:
    """Coarse probabilities that are the sums of the fine ones.

    >>> fine = torch.tensor([[0.1, 0.2, 0.3, 0.3, 0.1]])
    >>> assert_coherent(fine, torch.tensor([[0.3, 0.7]]), levels=("kl", "oa"))
    """
    expected = hierarchy.marginal(fine, *levels)
    gap = float((expected - coarse).abs().max())
    require(gap <= 1e-5, f"P({levels[1]}) differs from what P({levels[0]}) implies by up to {gap:.4g}")


def assert_row_losses(name: str, rows: Tensor, loss: Tensor, alone: Tensor) -> None:
    """One finite loss a row, that is the same for the row alone, and whose mean is the loss."""
    require(
        isinstance(rows, Tensor) and rows.shape == alone.shape,
        f"{name}.row_losses: expected one loss a row {tuple(alone.shape)}, got shape {tuple(rows.shape)}",
    )
    require(bool(rows.isfinite().all()), f"{name}.row_losses: not finite")
    require(same(rows, alone, 1e-4), f"{name}.row_losses: the loss of a row depends on the other rows")
    require(
        loss.ndim == 0 and same(loss, rows.mean(), 1e-4),
        f"{name}.loss: expected the mean over rows, a scalar of {float(rows.mean().detach()):.6g}, got "
        f"{float(loss.detach().mean()):.6g} of shape {tuple(loss.shape)}",
    )


def assert_gradients(name: str, loss: Tensor, inputs: Mapping[str, Tensor], module: nn.Module) -> None:
    """Finite gradients of a loss that reach every input and every parameter."""
    parameters = {key: item for key, item in module.named_parameters() if item.requires_grad}
    reached = {**inputs, **parameters}
    with explained(f"{name}: the gradient of its loss"):
        found = torch.autograd.grad(loss, list(reached.values()), allow_unused=True, retain_graph=True)
    for what, gradient in zip(reached, found, strict=True):
        require(gradient is not None, f"{name}.loss: no gradient reaches {what}")
        finite = gradient is not None and bool(gradient.isfinite().all())
        require(finite, f"{name}.loss: the gradient of {what} is not finite")


def assert_prepared(name: str, module: nn.Module) -> None:
    """No buffer that still holds NaN after ``prepare``."""
    for key, buffer in module.named_buffers():
        filled = not (buffer.is_floating_point() and bool(buffer.isnan().any()))
        require(filled, f"{name}.prepare: the buffer {key} holds NaN after it")
