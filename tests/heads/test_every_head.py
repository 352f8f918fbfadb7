"""What each head, and each head with each criterion, can do inside a model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from registry import CRITERIA, GRADED, HEADS, THREE

import oahier as oh
from oahier.export.inference import Inference, trial_volumes
from oahier.export.programs import packed_onnx, packed_program, trace
from oahier.heads import Beta, Head
from oahier.losses import KnownReader, ReaderNoise
from oahier.saliency.tail import TailExplainer, _class_score
from oahier.specs import build, describe
from oahier.testing import TinyEncoder, tiny_batch
from oahier.types import MISSING, Batch, TrainingFacts

FACTS = {"kl": [4, 3, 2, 1, 0], "oa": [7, 3], "stage": [4, 3, 3]}


def _model(head: Head) -> oh.HierarchicalClassifier:
    torch.manual_seed(0)
    heads = {"kl": head} if head.reads is None else {"kl": oh.SoftmaxHead(), "coarse": head}
    model = oh.HierarchicalClassifier(TinyEncoder(), heads)
    for name in model.heads:
        model.heads[name].prepare(TrainingFacts(FACTS, targets=model.targets_of(name)))
    return model


def _batch(kl: tuple[int, ...], oa: tuple[int, ...] | None = None) -> Batch:
    batch = tiny_batch(kl, (8, 8, 8))
    if oa is not None:
        batch["targets"]["oa"] = torch.tensor(oa)
    batch["targets"]["stage"] = THREE.coarsen(batch["targets"]["kl"], "kl", "stage")
    return batch


BATCHES = {
    "labelled": _batch((0, 3, 4)),
    "missing": _batch((0, MISSING, 4, MISSING), (0, 1, MISSING, MISSING)),
    "one class": _batch((2, 2, 2)),
    "no label": _batch((MISSING, MISSING)),
}
PAIRS = [(head, criterion) for head in GRADED for criterion in CRITERIA]


@pytest.mark.parametrize("head", HEADS)
def test_head_in_a_model(head: str, tmp_path: Path) -> None:
    """Any batch; bf16; checkpoint; saliency."""
    model = _model(HEADS[head]())
    name = list(model.heads)[-1]
    for batch in BATCHES.values():
        for precise in (True, False):
            model.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not precise):
                output = model._step(batch, "val")
            output["loss"].backward()
            gradients = [item.grad for item in model.parameters()]
            assert output["loss"].isfinite()
            assert all(item is not None and item.isfinite().all() for item in gradients)
            labelled = (batch["targets"][model.target_of(name)] != MISSING).any()
            assert (name in output["losses"]) == bool(labelled) or head.startswith("conditional")
    model.eval()
    with torch.no_grad():
        output = model.predict_step(BATCHES["labelled"], 0)
    torch.save({"specification": model.specification, "weights": model.state_dict()}, tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    again = oh.HierarchicalClassifier.from_specification(content["specification"]).eval()
    again.load_state_dict(content["weights"])
    with torch.no_grad():
        restored = again.predict_step(BATCHES["labelled"], 0)
    assert torch.equal(restored["probabilities"][name], output["probabilities"][name])
    labels = output["targets"][name]
    for score in ("severity", "predicted", "true"):
        explain = TailExplainer(model, name, score=score, stage=0)
        saliency = explain(output["features"], labels, BATCHES["labelled"]["mri"], output["knee"])
        assert saliency.isfinite().all()
        assert saliency.any()


@pytest.mark.parametrize("classes", [2, 5])
def test_saliency_explains_the_probability_of_a_class(classes: int) -> None:
    """Two logits of a beta distribution over two classes are not one a class."""
    head = oh.UnimodalHead(classes, distribution=Beta())
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.3]], requires_grad=True)
    labels = torch.tensor([0, 1])
    (found,) = torch.autograd.grad(_class_score(head, logits, labels).sum(), logits)
    log_p = head.log_probabilities(logits).gather(1, labels[:, None])
    (expected,) = torch.autograd.grad(log_p.sum(), logits)
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_heads_in_other_formats() -> None:
    """All heads of one model: a program of ``torch.export`` and ONNX give what the model gives."""
    heads = {f"head{number}": make() for number, make in enumerate(HEADS.values())}
    model = oh.HierarchicalClassifier(TinyEncoder(), {"kl": oh.CornHead(), **heads})
    for name in model.heads:
        model.heads[name].prepare(TrainingFacts(FACTS, targets=("kl",)))
    inference = Inference(model.eval())
    trials = [trial_volumes((8, 8, 8), count) for count in (1, 3)]
    program = trace(inference, trials[1])
    assert packed_program(program, inference, trials).agreement.largest < 1e-5
    assert packed_onnx(program, inference, trials).agreement.largest < 1e-5


@pytest.mark.parametrize(("head", "criterion"), PAIRS)
def test_head_with_criterion(head: str, criterion: str) -> None:
    """A finite loss and finite gradients for any batch; the head is rebuilt from its serial form."""
    made = build(describe(GRADED[head](criterion=CRITERIA[criterion]())), Head)
    made.build(4)
    made.prepare(TrainingFacts(FACTS, targets=("kl",)))
    embedding = torch.linspace(-2, 2, 20).reshape(5, 4).requires_grad_()
    for scale in (1.0, 1e3):
        for labels in (torch.arange(5), torch.full((5,), 3)):
            loss = made.loss(scale * made(embedding), labels)
            gradients = torch.autograd.grad(loss, [embedding, *made.parameters()])
            assert loss.isfinite()
            assert all(item.isfinite().all() for item in gradients)


def test_a_knee_with_the_coarse_label_alone_supervises_the_conditional_head() -> None:
    """It changes P(OA), and not how the grades share it."""
    model = _model(oh.ConditionalHead())
    model._step(BATCHES["missing"], "val")
    output = model._step(_batch((MISSING, MISSING, MISSING), (1, 0, 1)), "val")
    output["loss"].backward()
    slope = model.heads["kl"].projection.weight.grad
    assert slope[:2].abs().sum(dim=1).gt(0).all()
    assert slope[2:].abs().max() < 1e-6 * slope[:2].abs().max()
    assert (output["targets"]["kl"] == MISSING).all(), "metrics of grades leave the knee out"


def test_a_conditional_head_takes_two_readings_of_the_grade_and_the_coarse_label() -> None:
    """Columns named like a coarser level hold it; the others are readings, joined by the criterion."""
    readers = [KnownReader(torch.eye(5).mul(0.7).add(0.06).tolist()), KnownReader(torch.eye(5).tolist())]
    head = oh.ConditionalHead(target=("kl", "kl_2", "oa"), criterion=ReaderNoise(readers))
    head.build(4)
    head.prepare(TrainingFacts(FACTS, targets=("kl", "kl_2", "oa")))
    logits = torch.linspace(-1, 1, 28).reshape(4, 7)
    readings = torch.tensor([[1, 2, 1], [MISSING, 3, 1], [MISSING, MISSING, 0], [4, MISSING, MISSING]])
    log_p = head.log_probabilities(logits)
    expected = head.criterion.reading_losses(log_p[[0, 1, 3]], readings[[0, 1, 3], :2])
    rows = head.reading_losses(logits, readings)
    torch.testing.assert_close(rows[[0, 1, 3]], expected)
    torch.testing.assert_close(rows[2], -logits[2, :2].log_softmax(0)[0])


def test_a_marginal_head_supervises_the_head_that_it_reads() -> None:
    model = oh.HierarchicalClassifier(TinyEncoder(), {"kl": oh.CumulativeHead(), "oa": oh.MarginalHead()})
    output = model._step(_batch((MISSING, MISSING, MISSING), (1, 0, 1)), "val")
    output["loss"].backward()
    assert model.heads["kl"].projection.weight.grad.any()
    gap = oh.Hierarchy("kl", {"oa": (0, 0, 1, 1, 1)}).marginal(output["probabilities"]["kl"], "kl", "oa")
    torch.testing.assert_close(output["probabilities"]["oa"], gap, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_heads_train_on_two_processes(tmp_path: Path) -> None:
    """Every parameter has a gradient in every step, also where a process has no label; weights stay equal."""
    script = Path(__file__).with_name("two_processes.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env=environment, capture_output=True, text=True,
        timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in first["after"].items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(value, second["after"][name]), name
        if name.startswith("heads"):
            assert value.isfinite().all()
            assert not torch.equal(value, first["before"][name]), name
