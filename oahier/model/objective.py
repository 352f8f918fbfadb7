"""Losses of a step: of every head, and of every row."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from oahier.heads import Head
from oahier.model.checks import check_labels
from oahier.types import MISSING


def head_losses(
    heads: Mapping[str, Head], logits: Mapping[str, Tensor], targets: Mapping[str, Tensor], *, graph: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Loss of each head over its labelled rows, and of each row.

    Args:
        heads: by name.
        logits: of each head.
        targets: labels of each head.
        graph: give the losses of rows a graph; those of heads have one anyway.

    Returns:
        The loss of each head that has a label, and for each head the losses of its rows ``(batch,)``, NaN
        where the row has no label.

    Raises:
        ValueError: a label that the head does not have, or a head without one loss a row.
    """
    losses, rows = {}, {}
    for name, head in heads.items():
        labelled = targets[name] != MISSING
        shape = (len(labelled),)
        rows[name] = torch.full(shape, torch.nan, dtype=logits[name].dtype, device=logits[name].device)
        if not bool(labelled.any()):
            continue
        known, labels = logits[name][labelled], targets[name][labelled]
        check_labels(name, labels, head.num_classes)
        losses[name] = head.loss(known, labels)
        with torch.set_grad_enabled(graph and torch.is_grad_enabled()):
            found = head.row_losses(known, labels)
            if found.shape != labels.shape:
                raise ValueError(
                    f"head {name!r}: {type(head).__name__}.row_losses: expected one loss a row "
                    f"{tuple(labels.shape)}, got shape {tuple(found.shape)}"
                )
            rows[name] = rows[name].to(found.dtype).index_put((labelled,), found)
    return losses, rows
