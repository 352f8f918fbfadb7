"""Probes, terms, row losses and facts of the training split, as the model handles them."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import oahier as oh
from oahier.losses import BinaryCrossEntropy, CrossEntropy, LossWeighting, Term
from oahier.model.assembly import as_terms
from oahier.testing import TinyEncoder, tiny_batch, tiny_batches, tiny_dataloader, tiny_model, tiny_trainer
from oahier.types import MISSING, Step, TrainingFacts

pytestmark = pytest.mark.usefixtures("one_thread")


def _step(model: oh.HierarchicalClassifier, batch: Any, stage: str | None = None) -> Any:
    model.log = lambda *args, **options: None  # type: ignore[method-assign]
    return model._step(batch, stage)


def _fit(folder: Path, model: oh.HierarchicalClassifier) -> None:
    data = tiny_dataloader(tiny_batches(1))
    tiny_trainer(folder).fit(model, data, data)


def _gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor | None]:
    parameters = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, found, strict=True))


# --- row losses ---


def test_row_losses_are_nan_where_the_label_is_missing() -> None:
    model = tiny_model().eval()
    batch = tiny_batch((0, MISSING, 4))
    output = _step(model, batch)
    rows = output["row_losses"]["kl"]
    assert rows.isnan().tolist() == [False, True, False]
    assert not rows.requires_grad
    expected = F.cross_entropy(output["logits"]["kl"][[0, 2]], torch.tensor([0, 4]), reduction="none")
    torch.testing.assert_close(rows[[0, 2]], expected)
    torch.testing.assert_close(output["losses"]["kl"], expected.mean())


def test_row_losses_without_any_label() -> None:
    output = _step(tiny_model(), tiny_batch((MISSING, MISSING)))
    assert output["row_losses"]["oa"].isnan().all()
    assert output["losses"] == {}


class MeanHead(oh.SoftmaxHead):
    def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().row_losses(logits, labels).mean()


def test_one_loss_for_all_rows_is_refused() -> None:
    model = oh.HierarchicalClassifier(TinyEncoder(), {"kl": MeanHead()})
    with pytest.raises(ValueError, match=r"head 'kl': MeanHead\.row_losses: expected one loss a row \(2,\)"):
        _step(model, tiny_batch((1, 2)))


def test_a_loss_that_diverged_is_not_taken_for_a_missing_label() -> None:
    model = tiny_model(("kl",))
    with torch.no_grad():
        model.heads["kl"].projection.weight.fill_(float("nan"))
    assert _step(model, tiny_batch((1, MISSING)))["loss"].isnan()


# --- probes ---


def test_probes_are_an_argument_of_the_model() -> None:
    named = tiny_model(probes=["kl"])
    heads = {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead(probe=True)}
    assert named.probes == oh.HierarchicalClassifier(TinyEncoder(), heads).probes == {"kl"}
    assert tiny_model().probes == frozenset()
    output = _step(named.eval(), tiny_batch((0, 3)))
    gradients = _gradients(named, output["loss"])
    only_oa = _gradients(named, F.binary_cross_entropy_with_logits(
        named(tiny_batch((0, 3))["mri"])["oa"][:, 0], torch.tensor([0.0, 1.0])
    ))  # fmt: skip
    for name, gradient in gradients.items():
        if name.startswith("encoder."):
            torch.testing.assert_close(gradient, only_oa[name])
    assert gradients["heads.kl.projection.weight"].any()


def test_probes_survive_the_serial_form() -> None:
    model = tiny_model(probes=("kl",))
    assert model.specification["probes"] == ["kl"]
    assert oh.HierarchicalClassifier.from_specification(model.specification).probes == {"kl"}
    old = {name: part for name, part in model.specification.items() if name not in ("probes", "terms")}
    assert oh.HierarchicalClassifier.from_specification(old).probes == frozenset()


def test_unknown_probes_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"probes: expected names among the heads \['kl', 'oa'\], got \['lk'\]"
    ):
        tiny_model(probes=["lk"])
    with pytest.raises(TypeError, match="probes: expected a list of head names"):
        tiny_model(probes="kl")


def test_reading_a_probe_is_refused_when_training(tmp_path: Path) -> None:
    heads = {"kl": oh.SoftmaxHead(), "oa": oh.SoftmaxHead(2, reads="kl")}
    model = oh.HierarchicalClassifier(TinyEncoder(), heads, probes=["kl"])
    with pytest.raises(ValueError, match=r"head 'oa' reads 'kl', which is a probe, .* \['kl', 'oa'\]"):
        _fit(tmp_path, model)
    tiny_trainer(tmp_path).test(model, tiny_dataloader(tiny_batches(1)), verbose=False)


# --- heads that read others ---


class Marginal(oh.Head):
    """P(OA) from the grades, without parameters of its own."""

    reads_as = "log_probabilities"

    def __init__(self, reads: str = "kl") -> None:
        super().__init__(2, num_logits=5, reads=reads)

    def build(self, in_features: int) -> None:
        assert in_features == self.num_logits

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding

    def log_probabilities(self, logits: Tensor) -> Tensor:
        return torch.stack([logits[:, :2].logsumexp(dim=1), logits[:, 2:].logsumexp(dim=1)], dim=1)

    def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.nll_loss(self.log_probabilities(logits), labels, reduction="none")


class Cumulative(oh.Head):
    """P(grade > k) = sigmoid(z_k), with four logits for five grades."""

    def __init__(self) -> None:
        super().__init__(5, num_logits=4)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        above = torch.sigmoid(logits)
        edge = above.new_ones(len(above), 1)
        return (torch.cat([edge, above], 1) - torch.cat([above, 0 * edge], 1)).clamp(min=1e-12).log()

    def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        above = (labels[:, None] > torch.arange(4, device=labels.device)).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, above, reduction="none").mean(dim=1)


def test_marginal_head_over_cumulative_grades() -> None:
    """P(OA) = P(grade > 1) = sigmoid of the second logit; a softmax over the four logits gave .209."""
    model = oh.HierarchicalClassifier(TinyEncoder(), {"oa": Marginal(), "kl": Cumulative()})
    with torch.no_grad():
        model.heads["kl"].projection.weight.zero_()
        model.heads["kl"].projection.bias.copy_(torch.tensor([1.5, 0.3805, -1.0, -3.0]))
    output = _step(model.eval(), tiny_batch((0, 3)))
    torch.testing.assert_close(
        output["probabilities"]["oa"][:, 1], torch.full((2,), 0.594), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        output["probabilities"]["oa"][:, 1], output["probabilities"]["kl"][:, 2:].sum(dim=1)
    )


# --- terms and weightings ---


class Spread(Term):
    """Keeps a learned centre near the embeddings."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def build(self, num_features: int) -> None:
        self.centre = nn.Parameter(torch.zeros(num_features))

    def forward(self, step: Step) -> Tensor:
        return self.scale * (step["embedding"] - self.centre).square().mean()


class Recording(Term):
    def forward(self, step: Step) -> Tensor:
        self.step = step
        return step["embedding"].new_zeros(())


class Grabbing(LossWeighting):
    def forward(self, losses: dict[str, Tensor], shared: Tensor | None = None) -> Tensor:
        self.seen, self.shared = losses, shared
        return torch.stack(list(losses.values())).sum()


def test_terms_are_weighted_like_heads() -> None:
    model = tiny_model(terms={"spread": Spread()}, loss_weights={"oa": 1.0, "kl": 1.0, "spread": 0.5}).eval()
    output = _step(model, tiny_batch((0, 3)), "val")
    expected = output["losses"]["oa"] + output["losses"]["kl"] + 0.5 * output["losses"]["spread"]
    torch.testing.assert_close(output["loss"].detach(), expected)
    torch.testing.assert_close(output["losses"]["spread"], output["embedding"].square().mean())


def test_terms_read_the_step_with_its_graph() -> None:
    model = tiny_model(terms={"recording": Recording()})
    batch = tiny_batch((0, MISSING, 2))
    _step(model, batch, "train")
    step = model.terms["recording"].step
    assert step["embedding"].requires_grad
    assert all(value.requires_grad for value in (*step["logits"].values(), *step["row_losses"].values()))
    torch.testing.assert_close(step["log_probabilities"]["kl"].exp().sum(dim=1), torch.ones(3))
    assert step["targets"] == batch["targets"]
    assert (step["knee"], step["epoch"], len(step["features"])) == (batch["knee"], 0, 2)


def test_every_parameter_has_a_gradient_with_terms_that_say_nothing() -> None:
    model = tiny_model(terms={"recording": Recording(), "spread": Spread(0.0)})
    gradients = _gradients(model, _step(model, tiny_batch((MISSING, MISSING)), "train")["loss"])
    assert all(gradient is not None and not gradient.any() for gradient in gradients.values())


def test_term_trains_logs_and_reloads(tmp_path: Path) -> None:
    model = tiny_model(terms={"spread": Spread(2.0)}, optimizer=functools.partial(torch.optim.SGD, lr=0.1))
    data = tiny_dataloader(tiny_batches(2))
    trainer = tiny_trainer(tmp_path)
    trainer.fit(model, data, data)
    assert trainer.callback_metrics["val/spread/loss"].isfinite()
    assert model.terms["spread"].centre.any()
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = oh.HierarchicalClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    assert loaded.terms["spread"].scale == 2.0
    assert torch.equal(loaded.terms["spread"].centre, model.terms["spread"].centre)


def test_bad_terms_are_named() -> None:
    with pytest.raises(ValueError, match=r"terms\['kl'\]: a head has that name already"):
        tiny_model(terms={"kl": Spread()})
    with pytest.raises(TypeError, match=r"terms\['x'\]: expected a subclass of oahier.Term .* got Linear"):
        as_terms({"x": nn.Linear(1, 1)}, ())
    with pytest.raises(ValueError, match=r"terms\['a/b'\]: expected a name of letters"):
        tiny_model(terms={"a/b": Spread()})


def test_weighting_sees_what_the_losses_share() -> None:
    model = tiny_model(loss_weights=Grabbing(), terms={"spread": Spread()}, probes=["oa"])
    _step(model, tiny_batch((0, 3)), "train")
    weighting = model.weighting
    assert set(weighting.seen) == {"kl", "spread"}
    for loss in weighting.seen.values():
        (gradient,) = torch.autograd.grad(loss, weighting.shared, retain_graph=True)
        assert gradient.shape == weighting.shared.shape
        assert gradient.any()


# --- facts of the training split ---


@pytest.mark.parametrize(
    ("head", "buffer", "expected"),
    [
        (oh.SoftmaxHead(criterion=CrossEntropy(class_weights="balanced")), "class_weights",
         [4 / 6, 4 / 3, 1.0, 1.0, 4 / 3]),
        (oh.BinaryHead(criterion=BinaryCrossEntropy("balanced"), target="oa"), "positive_weight", [3.0]),
    ],
)  # fmt: skip
def test_balanced_weights_come_from_the_training_split(
    head: oh.Head, buffer: str, expected: list[float], tmp_path: Path
) -> None:
    model = oh.HierarchicalClassifier(TinyEncoder(), {"kl": copy.deepcopy(head)})
    tiny_trainer(tmp_path).fit(model, datamodule=Counting())
    found = model.state_dict()[f"heads.kl.criterion.{buffer}"]
    torch.testing.assert_close(found, torch.tensor(expected))
    with pytest.raises(ValueError, match=rf"\.{buffer} \(kl.criterion.{buffer}\) has no value"):
        _fit(tmp_path, oh.HierarchicalClassifier(TinyEncoder(), {"kl": copy.deepcopy(head)}))


class PriorHead(oh.SoftmaxHead):
    """Logits adjusted by the class shares of the training split."""

    def build(self, in_features: int) -> None:
        super().build(in_features)
        self.register_buffer("shares", torch.full((self.num_classes,), torch.nan))

    def prepare(self, facts: TrainingFacts) -> None:
        counts = torch.tensor(facts.class_counts[facts.targets[0]], dtype=torch.float32)
        self.shares.copy_(counts / counts.sum())


class Counting(L.LightningDataModule):
    class_counts: ClassVar = {"oa": [3, 1], "kl": [2, 1, 0, 0, 1]}

    def train_dataloader(self) -> Any:
        return tiny_dataloader(tiny_batches(1))

    val_dataloader = train_dataloader


def test_class_counts_reach_the_heads_and_stay_in_checkpoints(tmp_path: Path) -> None:
    model = oh.HierarchicalClassifier(TinyEncoder(), {"grade": PriorHead(target="kl")})
    trainer = tiny_trainer(tmp_path)
    trainer.fit(model, datamodule=Counting())
    assert model.heads["grade"].shares.tolist() == [0.5, 0.25, 0.0, 0.0, 0.25]
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = oh.HierarchicalClassifier(TinyEncoder(), {"grade": PriorHead(target="kl")})
    data = tiny_dataloader(tiny_batches(1))
    trainer = tiny_trainer(tmp_path, max_epochs=2)
    trainer.fit(again, data, data, ckpt_path=str(tmp_path / "model.ckpt"))  # resumed without the counts
    assert again.heads["grade"].shares.tolist() == [0.5, 0.25, 0.0, 0.0, 0.25]


def test_a_head_that_was_not_prepared_is_refused(tmp_path: Path) -> None:
    model = oh.HierarchicalClassifier(TinyEncoder(), {"kl": PriorHead()})
    with pytest.raises(ValueError, match=r"PriorHead\.shares \(kl\.shares\) has no value: .* class counts"):
        _fit(tmp_path, model)
