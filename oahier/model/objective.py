"""Losses of a step: of every head, and of every row."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from oahier.heads import Head
from oahier.types import is_known


def head_losses(
    heads: Mapping[str, Head], logits: Mapping[str, Tensor], readings: Mapping[str, Tensor], *, graph: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Loss of each head over its labelled rows, and of each row.

    Args:
        heads: by name.
        logits: of each head.
        readings: labels of each head, ``(batch, readings)``.
        graph: give the losses of rows a graph; those of heads have one anyway.

    Returns:
        The loss of each head that has a label, and for each head the losses of its rows ``(batch,)``, NaN
        where the row has no label.

    Raises:
        ValueError: a head without one loss a row.
    """
    losses, rows = {}, {}
    for name, head in heads.items():
        labelled = is_known(readings[name]).any(dim=1)
        shape = (len(labelled),)
        rows[name] = torch.full(shape, torch.nan, dtype=logits[name].dtype, device=logits[name].device)
        if bool(labelled.any()):
            losses[name], found = _losses(head, logits[name][labelled], readings[name][labelled], graph)
            if found.shape != (int(labelled.sum()),):
                raise ValueError(
                    f"head {name!r}: {type(head).__name__}.row_losses: expected one loss a row "
                    f"({int(labelled.sum())},), got shape {tuple(found.shape)}"
                )
            rows[name] = rows[name].to(found.dtype).index_put((labelled,), found)
    return losses, rows


def _losses(head: Head, logits: Tensor, readings: Tensor, graph: bool) -> tuple[Tensor, Tensor]:
    """Loss of a head and of its rows, all of which have a label."""
    if readings.shape[1] > 1:
        rows = head.reading_losses(logits, readings)
        return rows.mean(), rows
    loss = head.loss(logits, readings[:, 0])
    with torch.set_grad_enabled(graph and torch.is_grad_enabled()):
        return loss, head.row_losses(logits, readings[:, 0])
