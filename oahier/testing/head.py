"""The contract of heads, as one test."""

from __future__ import annotations

import copy
import json

import torch
from torch import Tensor

from oahier.heads import Head
from oahier.specs import build, describe
from oahier.testing.contract import explained, require, same, seeded
from oahier.testing.encoder import reload

_STEPS = 100


def check_head(head: Head) -> None:
    """Check that a head does what models, metrics, saliency and checkpoints ask of it.

    The head itself is not touched: one rebuilt from its arguments is checked. It must

    - be rebuilt from ``{class_path, init_args}`` and its weights to the same function;
    - map ``(batch, in_features)`` to logits ``(batch, num_logits)``, each row for itself;
    - give probabilities ``(batch, num_classes)`` that sum to one, and a severity in
      ``[0, num_classes - 1]``, also for logits in the thousands;
    - have a loss that is the mean over rows, a finite scalar for every class, with gradients for the
      embedding and every parameter;
    - learn a separable problem by gradient descent, with severity rising from the lowest to the highest
      class.

    Args:
        head: built or not; it may already belong to a model.

    Raises:
        ContractError: the first thing that does not hold.
    """
    require(isinstance(head, Head), f"expected a subclass of oahier.Head, got {type(head).__name__}")
    name = type(head).__name__
    with seeded(0):
        built = _fresh(name, head)
        embedding, labels = _separable(head.num_classes)
        _check_outputs(name, built, embedding)
        _check_extremes(name, built)
        _check_loss(name, built, embedding, labels)
        _check_copies(name, head, built, embedding)
        _check_learning(name, built, embedding, labels)


def _separable(num_classes: int, rows: int = 4) -> tuple[Tensor, Tensor]:
    """Rows that tell their class by one column of their own, and by a column that rises with it."""
    labels = torch.arange(num_classes).repeat(rows)
    own = torch.eye(num_classes)[labels]
    rising = (labels[:, None] - (num_classes - 1) / 2) * 2 / num_classes
    return torch.cat([own, rising], dim=1) + 0.01 * torch.randn(len(labels), num_classes + 1), labels


def _fresh(name: str, head: Head) -> Head:
    with explained(f"{name}: its serial form (checkpoints hold it)"):
        description = describe(head)
        json.dumps(description)
    with explained(f"{name}: rebuilding it from {description}"):
        fresh = build(description, Head)
    for attribute in ("num_classes", "num_logits", "target", "reads", "probe"):
        now, before = getattr(fresh, attribute, None), getattr(head, attribute, None)
        require(now == before, f"{name}.{attribute}: {before!r} before, {now!r} when rebuilt")
    with explained(f"{name}.build({head.num_classes + 1})"):
        fresh.build(head.num_classes + 1)
    return fresh


def _check_outputs(name: str, head: Head, embedding: Tensor) -> None:
    head.eval()
    with torch.no_grad():
        with explained(f"{name}.forward"):
            logits = head(embedding)
        expected = (len(embedding), head.num_logits)
        require(
            tuple(logits.shape) == expected,
            f"{name}.forward: expected logits {expected} (num_logits), got {tuple(logits.shape)}",
        )
        alone = torch.cat([head(row[None]) for row in embedding])
        require(same(logits, alone), f"{name}.forward: in eval mode a row depends on the other rows")
        _check_readings(name, head, logits)


def _check_readings(name: str, head: Head, logits: Tensor) -> None:
    with explained(f"{name}.probabilities"):
        probabilities = head.probabilities(logits)
    expected = (len(logits), head.num_classes)
    require(
        tuple(probabilities.shape) == expected,
        f"{name}.probabilities: expected {expected} (num_classes), got {tuple(probabilities.shape)}",
    )
    largest = f"for logits up to {float(logits.abs().max()):.3g}"
    require(bool(probabilities.isfinite().all()), f"{name}.probabilities: not finite {largest}")
    require(bool((probabilities >= 0).all()), f"{name}.probabilities: negative {largest}")
    sums = probabilities.sum(dim=1)
    require(
        torch.allclose(sums, torch.ones_like(sums), atol=1e-4),
        f"{name}.probabilities: expected rows that sum to one {largest}, "
        f"got sums from {float(sums.min()):.5g} to {float(sums.max()):.5g}",
    )
    with explained(f"{name}.severity"):
        severity = head.severity(logits)
    require(
        tuple(severity.shape) == (len(logits),),
        f"{name}.severity: expected one value a row ({len(logits)},), got {tuple(severity.shape)}",
    )
    top = head.num_classes - 1
    require(
        bool(((severity >= -1e-4) & (severity <= top + 1e-4)).all()),
        f"{name}.severity: expected values in [0, {top}] {largest}, "
        f"got {float(severity.min()):.5g} to {float(severity.max()):.5g}",
    )


def _check_extremes(name: str, head: Head) -> None:
    for scale in (1.0, 30.0, 1e4):
        logits = scale * torch.randn(16, head.num_logits)
        _check_readings(name, head, torch.cat([logits, logits.sign() * scale, torch.zeros_like(logits[:1])]))


def _check_loss(name: str, head: Head, embedding: Tensor, labels: Tensor) -> None:
    head.train()
    logits = head(embedding)
    for label in range(head.num_classes):
        one = torch.full((1,), label)
        for scale in (1.0, 100.0):
            with explained(f"{name}.loss for one row of class {label}"):
                loss = head.loss(scale * logits[:1].detach(), one)
            require(
                isinstance(loss, Tensor) and loss.ndim == 0,
                f"{name}.loss: expected a scalar tensor, got shape {tuple(loss.shape)}",
            )
            require(
                bool(loss.isfinite()),
                f"{name}.loss: {float(loss)} for class {label} and logits times {scale:g}; compute it from "
                "logits (logsigmoid, log_softmax), not from the logarithm of probabilities",
            )
    with explained(f"{name}.loss"), torch.no_grad():
        loss = head.loss(logits, labels)
        twice = head.loss(torch.cat([logits, logits]), torch.cat([labels, labels]))
    require(
        same(loss, twice, 1e-4),
        f"{name}.loss: every row given twice changes it from {float(loss):.6g} to {float(twice):.6g}; "
        "it must be the mean over rows",
    )
    _check_gradients(name, head, embedding, labels)


def _check_gradients(name: str, head: Head, embedding: Tensor, labels: Tensor) -> None:
    embedding = embedding.clone().requires_grad_()
    logits = head(embedding)
    parameters = {key: item for key, item in head.named_parameters() if item.requires_grad}
    with explained(f"{name}: the gradient of its loss"):
        gradients = torch.autograd.grad(
            head.loss(logits, labels),
            [embedding, *parameters.values()],
            allow_unused=True,
            retain_graph=True,
        )
    for what, gradient in zip(["the embedding", *parameters], gradients, strict=True):
        require(gradient is not None, f"{name}.loss: no gradient reaches {what}")
        finite = gradient is not None and bool(gradient.isfinite().all())
        require(finite, f"{name}.loss: the gradient of {what} is not finite")
    require(bool(gradients[0].any()), f"{name}.loss: the gradient for the embedding is zero")
    with explained(f"{name}: the gradient of its severity"):
        (saliency,) = torch.autograd.grad(head.severity(logits).sum(), embedding)
    require(
        bool(saliency.isfinite().all()) and bool(saliency.any()),
        f"{name}.severity: its gradient is zero or not finite, so saliency shows nothing; do not use argmax",
    )


def _check_copies(name: str, head: Head, built: Head, embedding: Tensor) -> None:
    built.eval()
    with torch.no_grad():
        expected = built.probabilities(built(embedding))
        rebuilt = _fresh(name, head)
        with explained(f"{name}: loading its weights into a rebuilt one"):
            rebuilt.load_state_dict(reload(built.state_dict()))
        rebuilt.eval()
        require(
            same(rebuilt.probabilities(rebuilt(embedding)), expected),
            f"{name}: rebuilt with its own weights it gives other probabilities; keep every learned or drawn "
            "value in parameters and buffers",
        )
        with explained(f"{name}: copy.deepcopy"):
            duplicate = copy.deepcopy(built)
        require(
            same(duplicate.probabilities(duplicate(embedding)), expected),
            f"{name}: a deep copy gives other probabilities",
        )


def _check_learning(name: str, head: Head, embedding: Tensor, labels: Tensor) -> None:
    parameters = [item for item in head.parameters() if item.requires_grad]
    if not parameters:
        return
    head.train()
    optimizer = torch.optim.Adam(parameters, lr=0.1)
    first = float(head.loss(head(embedding), labels).detach())
    for _ in range(_STEPS):
        optimizer.zero_grad()
        loss = head.loss(head(embedding), labels)
        loss.backward()
        optimizer.step()
    head.eval()
    with torch.no_grad():
        logits = head(embedding)
        last = float(head.loss(logits, labels))
        severity = head.severity(logits)
    require(
        last < first,
        f"{name}.loss: {_STEPS} steps of gradient descent on a separable problem took it from {first:.5g} "
        f"to {last:.5g}; expected it to fall",
    )
    low, high = (float(severity[labels == label].detach().mean()) for label in (0, head.num_classes - 1))
    require(
        low < high,
        f"{name}.severity: after learning a separable problem it is {low:.4g} for the lowest class and "
        f"{high:.4g} for the highest; expected it to rise",
    )
