"""Forward correction: against sums over the truth, in float32 and at extremes, and learned."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oahier as oh
from oahier.losses import BinaryCrossEntropy, CrossEntropy, Focal, KnownReader, LearnedReader, ReaderNoise
from oahier.noise.matrices import ADJUDICATED_BLOCKS
from oahier.phantom.readers import BLOCK_NOISE
from oahier.specs import build, describe
from oahier.testing import TinyEncoder, check_criterion, tiny_batch
from oahier.types import TrainingFacts

BLOCK = [list(row) for row in BLOCK_NOISE]
FULL = (0.5 * np.eye(5) + 0.1).tolist()


def slow(log_p, readings, matrices):
    """The sum over the truth, term by term."""
    rows = []
    for p, row in zip(log_p.double().exp().tolist(), readings.tolist(), strict=True):
        total = 0.0
        for truth in range(len(p)):
            product = p[truth]
            for matrix, read in zip(matrices, row, strict=True):
                product *= matrix[truth][read] if read >= 0 else 1.0
            total += product
        rows.append(-math.log(total))
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("matrices", [[BLOCK], [FULL, FULL], [FULL, (0.3 * np.eye(5) + 0.14).tolist(), FULL]])
def test_rows_are_the_sum_over_the_truth(matrices):
    torch.manual_seed(0)
    log_p = torch.randn(60, 5, dtype=torch.float64).mul(3).log_softmax(dim=1)
    readings = torch.randint(-1, 5, (60, len(matrices)))
    readings[:, 0] = readings[:, 0].clamp(min=0)
    noise = ReaderNoise([KnownReader(matrix) for matrix in matrices])
    noise.build(5)
    torch.testing.assert_close(
        noise.reading_losses(log_p, readings), slow(log_p, readings, matrices), rtol=1e-6, atol=1e-6
    )


def test_one_reader_stands_for_all_readings():
    log_p, readings = torch.randn(9, 5).log_softmax(dim=1), torch.randint(0, 5, (9, 2))
    one, two = ReaderNoise(KnownReader(FULL)), ReaderNoise([KnownReader(FULL), KnownReader(FULL)])
    assert torch.equal(one.reading_losses(log_p, readings), two.reading_losses(log_p, readings))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=5, max_size=5), min_size=1, max_size=6),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_losses_and_gradients_are_finite_at_extremes(rows, dtype):
    logits = torch.tensor(rows, dtype=dtype, requires_grad=True)
    labels = torch.arange(len(rows)) % 5
    for reader in (KnownReader(BLOCK), KnownReader(FULL), LearnedReader(ADJUDICATED_BLOCKS), LearnedReader()):
        noise = ReaderNoise(reader)
        noise.build(5)
        losses = noise.row_losses(logits.log_softmax(dim=1), labels)
        gradients = torch.autograd.grad(losses.sum(), [logits, *noise.parameters()])
        assert losses.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_perfect_reader_changes_nothing():
    log_p, labels = torch.randn(20, 5).log_softmax(dim=1), torch.arange(20) % 5
    perfect = KnownReader(np.eye(5).tolist())
    for criterion in (CrossEntropy(), Focal(2.0), CrossEntropy(class_weights=[1.0, 2.0, 1.0, 3.0, 1.0])):
        noise = ReaderNoise(perfect, criterion)
        noise.build(5)
        torch.testing.assert_close(noise.row_losses(log_p, labels), criterion.row_losses(log_p, labels))
    torch.testing.assert_close(ReaderNoise(perfect).loss(log_p, labels), CrossEntropy().loss(log_p, labels))


def test_a_criterion_sees_what_is_read_and_the_likelihood_is_that_of_cross_entropy():
    log_p, labels = torch.randn(20, 5).log_softmax(dim=1), torch.arange(20) % 5
    read = (log_p.exp() @ torch.tensor(BLOCK)).log()
    for criterion in (None, CrossEntropy()):
        noise = ReaderNoise(KnownReader(BLOCK), criterion)
        torch.testing.assert_close(noise.row_losses(log_p, labels), CrossEntropy().row_losses(read, labels))
    focal = ReaderNoise(KnownReader(BLOCK), Focal(2.0))
    torch.testing.assert_close(focal.row_losses(log_p, labels), Focal(2.0).row_losses(read, labels))
    readings = torch.stack([labels, torch.full_like(labels, -1)], dim=1)
    torch.testing.assert_close(focal.reading_losses(log_p, readings), Focal(2.0).row_losses(read, labels))


def test_contracts_hold_in_heads_of_any_kind():
    check_criterion(ReaderNoise(KnownReader(BLOCK, ADJUDICATED_BLOCKS)))
    check_criterion(ReaderNoise(LearnedReader(), Focal(1.0)), num_classes=3)
    noise = ReaderNoise([KnownReader(BLOCK), LearnedReader(volume=0.01)], CrossEntropy(0.1))
    assert describe(build(describe(noise), ReaderNoise)) == describe(noise)


def test_a_learned_reader_starts_where_it_is_told_and_stays_in_its_blocks():
    reader = LearnedReader(ADJUDICATED_BLOCKS, agreement=0.7)
    reader.build(5)
    matrix = reader.log_matrix().exp()
    torch.testing.assert_close(matrix.diagonal(), torch.full((5,), 0.7))
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(5))
    assert not matrix[:2, 2:].any()
    assert not matrix[2:, :2].any()
    assert reader.penalty().item() == pytest.approx(
        1e-4 * math.log(np.linalg.det(matrix.detach().numpy()) + 1e-6), rel=1e-4
    )


def test_a_learned_reader_finds_the_matrix_where_the_truth_is_easy():
    """Anchors: the head is certain of the truth, so that T is the table of truth by reading."""
    torch.manual_seed(0)
    truth = torch.arange(4000) % 5
    labels = torch.multinomial(torch.tensor(BLOCK)[truth], 1)[:, 0]
    log_p = (10.0 * torch.eye(5)[truth]).log_softmax(dim=1)
    noise = ReaderNoise(LearnedReader(ADJUDICATED_BLOCKS))
    noise.build(5)
    optimizer = torch.optim.Adam(noise.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        noise.loss(log_p, labels).backward()
        optimizer.step()
    found = noise.readers[0].log_matrix().exp().detach()
    seen = torch.stack([torch.bincount(labels[truth == grade], minlength=5) / 800 for grade in range(5)])
    assert (found - seen).abs().max() < 0.005
    assert (found - torch.tensor(BLOCK)).abs().max() < 0.05


def test_a_model_learns_from_two_readings_and_comes_back_from_its_checkpoint(tmp_path):
    noise = ReaderNoise([LearnedReader(), KnownReader(FULL)])
    head = oh.SoftmaxHead(criterion=noise, target=("kl", "kl_2"))
    model = oh.HierarchicalClassifier(TinyEncoder(), {"kl": head}, optimizer=torch.optim.AdamW)
    batch = tiny_batch((0, 1, -1, -1))
    batch["targets"]["kl_2"] = torch.tensor([2, -1, 4, -1])
    output = model._step(batch, "val")
    rows = output["row_losses"]["kl"]
    matrices = [noise.readers[0].log_matrix().exp().tolist(), FULL]
    log_p = model.heads["kl"].log_probabilities(output["logits"]["kl"])[:3]
    expected = (
        slow(log_p, torch.tensor([[0, 2], [1, -1], [-1, 4]]), matrices) + noise.readers[0].penalty().item()
    )
    torch.testing.assert_close(rows[:3].double(), expected, rtol=1e-5, atol=1e-5)
    assert rows[3].isnan()
    output["loss"].backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    spared = model.configure_optimizers().param_groups[1]
    assert spared["weight_decay"] == 0.0
    assert any(noise.readers[0].weight is item for item in spared["params"])
    again = oh.HierarchicalClassifier.from_specification(model.specification)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(batch["mri"])["kl"], model.eval()(batch["mri"])["kl"])


TWO = ReaderNoise([KnownReader(FULL), KnownReader(FULL)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KnownReader([[0.9, 0.2], [0.2, 0.8]]), r"each summing to 1, got row sums"),
        (lambda: KnownReader([[1.1, -0.1], [0.2, 0.8]]), "smallest entry of -0.1"),
        (lambda: KnownReader([[0.9, 0.1]]), r"expected 1 x 1 numbers.*got shape \(1, 2\)"),
        (lambda: KnownReader([[0.9, 0.1], [1.0]]), "expected rows of numbers of one length"),
        (lambda: KnownReader([[1.0, 0.0], [1.0, 0.0]]), "class 1 is read for no true class"),
        (lambda: KnownReader(FULL, ADJUDICATED_BLOCKS), r"P\(reads 2 \| truth 0\) is 0.1, but the blocks"),
        (lambda: KnownReader(BLOCK, [0, 1]), "expected the block of each of 5 classes"),
        (lambda: ReaderNoise(KnownReader([[0.9, 0.1], [0.2, 0.8]])).build(5), "expected 5 x 5 numbers"),
        (lambda: LearnedReader([0, 1]).build(5), "expected the block of each of 5 classes"),
        (lambda: LearnedReader(agreement=1.0), r"expected an agreement in \(0, 1\)"),
        (lambda: ReaderNoise([]), "expected an oahier Reader or several"),
        (lambda: ReaderNoise(KnownReader(FULL), BinaryCrossEntropy()), "reads logits, which a"),
        (lambda: TWO.row_losses(torch.zeros(1, 5), torch.zeros(1, dtype=int)), "2 readers, .*kl_2"),
        (lambda: TWO.prepare(TrainingFacts({}, targets=("kl",))), "2 readers, but .*1 reading"),
        (lambda: ReaderNoise([KnownReader(BLOCK)] * 2).reading_losses(
            torch.zeros(1, 5), torch.tensor([[0, 4]])), "readings in different blocks"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_with_the_fix(make, message):
    with pytest.raises(ValueError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_readings_in_any_order_of_readers_are_one_likelihood():
    log_p = torch.randn(7, 5).log_softmax(dim=1)
    readings = torch.randint(0, 5, (7, 3))
    readers = [KnownReader((a * np.eye(5) + (1 - a) / 5).tolist()) for a in (0.2, 0.5, 0.8)]
    found = [
        ReaderNoise([readers[i] for i in order]).reading_losses(log_p, readings[:, list(order)])
        for order in itertools.permutations(range(3))
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])
