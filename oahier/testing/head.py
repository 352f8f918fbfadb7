"""The contract of heads, as one test."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from oahier.data.sampling import seeded
from oahier.heads import Head, SoftmaxHead
from oahier.testing.contract import explained, require, same
from oahier.testing.encoder import reload
from oahier.testing.properties import (
    assert_gradients,
    assert_prepared,
    assert_probabilities,
    assert_row_losses,
    rebuilt,
)
from oahier.types import MISSING, TrainingFacts

_STEPS = 100


def check_head(head: Head, over: Head | None = None) -> None:
    """Check that a head does what models, metrics, saliency and checkpoints ask of it.

    The head itself is not touched: one rebuilt from its arguments is checked. It must

    - be rebuilt from ``{class_path, init_args}`` and its weights to the same function;
    - map ``(batch, in_features)`` to logits ``(batch, num_logits)``, each row for itself;
    - give probabilities ``(batch, num_classes)`` that sum to one, their logarithms, and a severity in
      ``[0, num_classes - 1]``, also for logits in the thousands;
    - have a finite loss for every row and class, whose mean is its loss, with gradients for the embedding and
      every parameter;
    - fill its NaN buffers in ``prepare``;
    - learn a separable problem by gradient descent, with severity rising from the lowest to the highest
      class;
    - where it reads another head and has no parameters to learn from, read log-probabilities.

    Args:
        head: built or not; it may already belong to a model.
        over: a head like the one that it reads, where it reads one; a softmax head of five classes when not
            given.

    Raises:
        ContractError: the first thing that does not hold.
    """
    require(isinstance(head, Head), f"expected a subclass of oahier.Head, got {type(head).__name__}")
    name = type(head).__name__
    with seeded(0):
        embedding, labels = _inputs(name, head, over)
        built = _fresh(name, head, embedding.shape[1])
        if head.reads is not None and not list(built.parameters()):
            require(
                built.reads_as == "log_probabilities",
                f"{name}: it reads logits and has no parameters to learn what they mean, so over any head "
                "but a softmax its probabilities are wrong; set reads_as = 'log_probabilities'",
            )
        _check_outputs(name, built, embedding)
        _check_extremes(name, built, embedding.shape[1])
        _check_loss(name, built, embedding, labels)
        _check_copies(name, head, built, embedding)
        _check_learning(name, built, embedding, labels)


def _inputs(name: str, head: Head, over: Head | None) -> tuple[Tensor, Tensor]:
    """What the head is given, and labels that can be told from it."""
    if head.reads is None or (over is None and head.reads_as == "logits"):
        embedding, labels = _separable(head.num_classes)
    else:
        over = SoftmaxHead() if over is None else over
        embedding, fine = _separable(over.num_classes)
        other = _fresh(type(over).__name__, over, embedding.shape[1])
        _descend(other, embedding, fine)
        with torch.no_grad(), explained(f"{name}: reading {type(over).__name__}"):
            embedding = head.input_from(other, other(embedding))
        labels = fine * head.num_classes // over.num_classes
    return embedding, labels if head.learns_from == "classes" else labels.float()


def _separable(num_classes: int, rows: int = 4) -> tuple[Tensor, Tensor]:
    """Rows that tell their class by one column of their own, and by a column that rises with it."""
    labels = torch.arange(num_classes).repeat(rows)
    own = torch.eye(num_classes)[labels]
    rising = (labels[:, None] - (num_classes - 1) / 2) * 2 / num_classes
    return torch.cat([own, rising], dim=1) + 0.01 * torch.randn(len(labels), num_classes + 1), labels


def _fresh(name: str, head: Head, in_features: int) -> Head:
    fresh = rebuilt(name, head, Head)
    for attribute in ("num_classes", "num_logits", "target", "reads", "probe"):
        now, before = getattr(fresh, attribute, None), getattr(head, attribute, None)
        require(now == before, f"{name}.{attribute}: {before!r} before, {now!r} when rebuilt")
    with explained(f"{name}.build({in_features})"):
        fresh.build(in_features)
    with explained(f"{name}.prepare"):
        fresh.prepare(TrainingFacts({"label": [4] * head.num_classes}, targets=("label",)))
    assert_prepared(name, fresh)
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
    with explained(f"{name}.log_probabilities"):
        log_probabilities = head.log_probabilities(logits)
    assert_probabilities(name, log_probabilities, probabilities, largest)
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


@torch.no_grad()
def _check_extremes(name: str, head: Head, in_features: int) -> None:
    passes_on = head.reads_as == "log_probabilities" and not list(head.parameters())
    for scale in (1.0, 30.0, 1e4):
        logits = scale * torch.randn(16, in_features if passes_on else head.num_logits)
        logits = torch.cat([logits, logits.sign() * scale, torch.zeros_like(logits[:1])])
        _check_readings(name, head, head(logits.log_softmax(dim=1)) if passes_on else logits)


def _check_loss(name: str, head: Head, embedding: Tensor, labels: Tensor) -> None:
    head.train()
    embedding = embedding.clone().requires_grad_()
    logits = head(embedding)
    for label in range(head.num_classes):
        one = torch.full((1,), label, dtype=labels.dtype)
        for scale in (1.0, 100.0):
            with explained(f"{name}.loss for one row of class {label}"):
                loss = head.loss(scale * logits[:1].detach(), one).detach()
            require(
                bool(loss.isfinite().all()),
                f"{name}.loss: {float(loss.mean())} for class {label} and logits times {scale:g}; compute it "
                "from logits (logsigmoid, log_softmax), not from the logarithm of probabilities",
            )
    with explained(f"{name}.row_losses"):
        rows, loss = head.row_losses(logits, labels), head.loss(logits, labels)
        alone = [head.row_losses(logits[[row]], labels[[row]]).reshape(1) for row in range(len(labels))]
        count = 1 if head.target is None or isinstance(head.target, str) else len(head.target)
        missing = torch.full_like(labels, torch.nan if labels.is_floating_point() else MISSING)
        readings = torch.stack([labels, *[missing] * max(1, count - 1)], dim=1)
        several = head.reading_losses(logits, readings)
    assert_row_losses(name, rows, loss, torch.cat(alone))
    require(
        several.shape == rows.shape and bool(several.isfinite().all()),
        f"{name}.reading_losses: expected a finite loss a row where one of two readings is missing",
    )
    assert_gradients(name, loss, {"the embedding": embedding}, head)
    (gradient,) = torch.autograd.grad(loss, embedding, retain_graph=True)
    require(bool(gradient.any()), f"{name}.loss: the gradient for the embedding is zero")
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
        again = _fresh(name, head, embedding.shape[1])
        with explained(f"{name}: loading its weights into a rebuilt one"):
            again.load_state_dict(reload(built.state_dict()))
        again.eval()
        require(
            same(again.probabilities(again(embedding)), expected),
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
    first, last = _descend(head, embedding, labels)
    with torch.no_grad():
        severity = head.severity(head(embedding))
    require(
        last < first or not list(head.parameters()),
        f"{name}.loss: {_STEPS} steps of gradient descent on a separable problem took it from {first:.5g} "
        f"to {last:.5g}; expected it to fall",
    )
    if head.learns_from == "classes":
        low, high = (float(severity[labels == label].mean()) for label in (0, head.num_classes - 1))
        require(
            low < high,
            f"{name}.severity: after learning a separable problem it is {low:.4g} for the lowest class and "
            f"{high:.4g} for the highest; expected it to rise",
        )


def _descend(head: Head, embedding: Tensor, labels: Tensor) -> tuple[float, float]:
    """Train a head; its loss before and after. It is in evaluation mode afterwards."""
    parameters = [item for item in head.parameters() if item.requires_grad]
    head.train()
    first = float(head.loss(head(embedding), labels).detach())
    optimizer = torch.optim.Adam(parameters or [torch.zeros(1)], lr=0.1)
    for _ in range(_STEPS if parameters else 0):
        optimizer.zero_grad()
        head.loss(head(embedding), labels).backward()
        optimizer.step()
    head.eval()
    with torch.no_grad():
        return first, float(head.loss(head(embedding), labels))
