"""The contracts of criteria, terms and weightings, as one test each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from oahier.data.sampling import seeded
from oahier.heads import Head
from oahier.losses import Criterion, LossWeighting, Term
from oahier.model import HierarchicalClassifier
from oahier.testing.batches import tiny_batch
from oahier.testing.contract import explained, require, same
from oahier.testing.encoder import reload
from oahier.testing.model import TinyEncoder, tiny_heads
from oahier.testing.properties import assert_gradients, assert_prepared, assert_row_losses, rebuilt
from oahier.types import MISSING, TrainingFacts


def check_criterion(criterion: Criterion, num_classes: int = 5, num_logits: int | None = None) -> None:
    """Check that a criterion gives a head what it needs; one rebuilt from its arguments is checked.

    It must be rebuilt from its serial form, fill its NaN buffers in ``prepare``, give each row a finite loss
    that does not depend on the other rows, also for logits in the thousands, take their mean, have finite
    gradients, and fall when the logits follow them.

    Args:
        criterion: built or not.
        num_classes: classes to check it with.
        num_logits: logits of the heads that it fits, if it reads logits; ``num_classes`` when not given.

    Raises:
        ContractError: the first thing that does not hold.
    """
    require(isinstance(criterion, Criterion), f"expected a Criterion, got {type(criterion).__name__}")
    name = type(criterion).__name__
    checked = _built_criterion(name, criterion, num_classes)
    with seeded(0):
        labels = torch.arange(num_classes).repeat(3)
        logits = torch.randn(len(labels), num_logits or num_classes).requires_grad_()
        for scale in (1.0, 1e4):
            scores = _scores(checked, scale * logits)
            with explained(f"{name}.row_losses for logits times {scale:g}"):
                rows, loss = checked.row_losses(scores, labels), checked.loss(scores, labels)
                alone = [checked.row_losses(scores[[row]], labels[[row]]) for row in range(len(labels))]
            assert_row_losses(name, rows, loss, torch.cat([item.reshape(1) for item in alone]))
            assert_gradients(name, loss, {"the logits": logits}, checked)
        again = _built_criterion(name, criterion, num_classes)
        with explained(f"{name}: loading its state into a rebuilt one"):
            again.load_state_dict(reload(checked.state_dict()))
        scores = _scores(checked, logits)
        first = checked.loss(scores, labels)
        require(
            same(again.loss(scores, labels), first), f"{name}: rebuilt with its own state it is another loss"
        )
        (slope,) = torch.autograd.grad(first, logits)
        require(bool(slope.any()), f"{name}.loss: its gradient is zero")
        last = checked.loss(_scores(checked, logits - 0.01 * slope), labels)
        require(bool(last < first), f"{name}.loss: it does not fall along its gradient")


def _built_criterion(name: str, criterion: Criterion, num_classes: int) -> Criterion:
    made = rebuilt(name, criterion, Criterion)
    with explained(f"{name}.build({num_classes}) and prepare"):
        made.build(num_classes)
        made.prepare(TrainingFacts({"label": [4] * num_classes}, targets=("label",)))
    assert_prepared(name, made)
    return made


def _scores(criterion: Criterion, logits: Tensor) -> Tensor:
    return logits if criterion.reads_as == "logits" else logits.log_softmax(dim=1)


def check_term(term: Term, heads: Mapping[str, Head] | None = None) -> None:
    """Check that a term can be part of an objective; one rebuilt from its arguments is checked.

    In a tiny model it must give a finite scalar for labelled knees, for one knee, for knees without a label
    and without gradients; leave the step as it was; give finite gradients; and keep its state.

    Args:
        term: of any model or none.
        heads: of the model, not built; a binary head ``"oa"`` and a softmax head ``"kl"`` when not given.

    Raises:
        ContractError: the first thing that does not hold.
    """
    require(isinstance(term, Term), f"expected a Term, got {type(term).__name__}")
    name = type(term).__name__
    with seeded(0):
        made = {key: rebuilt(key, head, Head) for key, head in (heads or tiny_heads(("oa", "kl"))).items()}
        with explained(f"{name}.build"):
            model = HierarchicalClassifier(
                TinyEncoder(), made, terms={"checked": rebuilt(name, term, Term)}
            ).eval()
        checked = model.terms["checked"]
        with explained(f"{name}.prepare"):
            counts = {model.target_of(key): [4] * head.num_classes for key, head in made.items()}
            checked.prepare(TrainingFacts(counts))  # type: ignore[operator]
        assert_prepared(name, checked)
        for kl in ((0, 3, 1, 4), (2,), (MISSING, MISSING)):
            batch = tiny_batch(kl)
            before = {key: value.clone() for key, value in batch["targets"].items()}
            with explained(f"{name}.forward for grades {kl}"):
                output = model._step(batch, "val")
                with torch.no_grad():
                    again = model._step(batch, "val")["losses"]["checked"]
            value = output["losses"]["checked"]
            require(
                bool(value.isfinite()), f"{name}: {float(value)} for grades {kl}; zero where it has nothing"
            )
            require(same(value, again), f"{name}: another value for the same step, without gradients")
            unchanged = all(torch.equal(batch["targets"][key], item) for key, item in before.items())
            require(unchanged, f"{name}: it changes the targets of the step")
            assert_gradients(name, output["loss"], {}, model)
        with explained(f"{name}: loading its state into a rebuilt one"):
            fresh = rebuilt(name, term, Term)
            fresh.build(model.encoder.num_features)
            fresh.load_state_dict(reload(checked.state_dict()))


def check_weighting(weighting: LossWeighting, names: Sequence[str] = ("oa", "kl")) -> None:
    """Check that a weighting joins losses; one rebuilt from its arguments is checked.

    It must give a finite scalar for all losses and for each alone, with and without ``shared`` and gradients,
    reach every loss (and, given all, every parameter) with a finite gradient, and keep its state.

    Args:
        weighting: of any model or none.
        names: of the heads and terms.

    Raises:
        ContractError: the first thing that does not hold.
    """
    require(isinstance(weighting, LossWeighting), f"expected a LossWeighting, got {type(weighting).__name__}")
    name = type(weighting).__name__
    checked, again = (rebuilt(name, weighting, LossWeighting) for _ in range(2))
    with seeded(0):
        for made in (checked, again):
            with explained(f"{name}.build({list(names)})"):
                made.build(names)
        again.load_state_dict(reload(checked.state_dict()))
        shared = torch.randn(4, 3).requires_grad_()
        scales = {key: torch.rand(3) + index for index, key in enumerate(names)}
        losses = {key: (shared * scale).square().mean() for key, scale in scales.items()}
        for given in (losses, *({key: loss} for key, loss in losses.items())):
            with explained(f"{name}.forward for the losses of {', '.join(given)}"):
                objective = checked(given, shared=shared)
                with torch.no_grad():
                    plain = {key: loss.detach() for key, loss in given.items()}
                    values = [objective.detach(), checked(plain), checked(plain, shared=None), again(plain)]
            require(objective.ndim == 0, f"{name}: expected a scalar, got shape {tuple(objective.shape)}")
            finite = all(bool(value.isfinite()) for value in values)
            require(finite, f"{name}: {[float(value) for value in values]} for finite losses")
            inputs = {f"the loss of {key}": loss for key, loss in given.items()}
            assert_gradients(
                name, objective, inputs, checked if len(given) == len(losses) else torch.nn.Module()
            )
        require(same(values[1], values[3]), f"{name}: rebuilt with its own state it gives another objective")
