from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from miniature.training import fit, step
from torch import Tensor, nn
from torch.nn import functional as F

import oahier as oh
from oahier.testing import TinyEncoder, tiny_batch, tiny_batches, tiny_dataloader, tiny_model, tiny_trainer
from oahier.types import MISSING, Batch

pytestmark = pytest.mark.usefixtures("one_thread")


def _gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor | None]:
    parameters = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, found, strict=True))


@pytest.mark.parametrize("heads", [("oa",), ("kl",), ("oa", "kl")])
def test_single_and_dual(heads: tuple[str, ...]) -> None:
    model = tiny_model(heads)
    output = step(model, tiny_batch((0, 1, 4)))
    assert set(output["logits"]) == set(output["losses"]) == set(output["targets"]) == set(heads)
    for name in heads:
        classes = 2 if name == "oa" else 5
        assert output["probabilities"][name].shape == (3, classes)
        torch.testing.assert_close(output["probabilities"][name].sum(dim=1), torch.ones(3))
        assert output["severity"][name].shape == (3,)
    torch.testing.assert_close(output["loss"].detach(), sum(output["losses"].values()))


def test_losses_are_those_of_torch() -> None:
    model = tiny_model().eval()
    batch = tiny_batch((0, 2, 4))
    output, logits = step(model, batch), model(batch["mri"])
    expected_oa = F.binary_cross_entropy_with_logits(logits["oa"][:, 0], torch.tensor([0.0, 1.0, 1.0]))
    expected_kl = F.cross_entropy(logits["kl"], torch.tensor([0, 2, 4]))
    torch.testing.assert_close(output["losses"]["oa"], expected_oa.detach())
    torch.testing.assert_close(output["losses"]["kl"], expected_kl.detach())


def test_step_output_is_detached_and_complete() -> None:
    model = tiny_model()
    batch = tiny_batch()
    output = step(model, batch)
    assert output["loss"].requires_grad
    for key in ("losses", "logits", "probabilities", "severity"):
        assert not any(value.requires_grad for value in output[key].values())
    assert not output["embedding"].requires_grad
    assert not any(item.requires_grad for item in output["features"])
    assert [tuple(item.shape[2:]) for item in output["features"]] == [(8, 8, 8), (4, 4, 4)]
    assert output["knee"] == batch["knee"]
    assert output["subject"] == batch["subject"]


def test_training_keeps_no_features(tmp_path: Path) -> None:
    kept = []

    class Recorder(oh.HierarchicalClassifier):
        def training_step(self, batch: Batch, batch_idx: int) -> Any:
            output = super().training_step(batch, batch_idx)
            kept.append(output["features"])
            return output

    model = Recorder(TinyEncoder(), {"kl": oh.SoftmaxHead()})
    fit(tmp_path, model, tiny_batches(2))
    assert kept == [(), ()]


def test_loss_weights_multiply() -> None:
    model = tiny_model(loss_weights={"oa": 0.25, "kl": 2.0})
    output = step(model, tiny_batch())
    expected = 0.25 * output["losses"]["oa"] + 2.0 * output["losses"]["kl"]
    torch.testing.assert_close(output["loss"].detach(), expected)


# --- missing labels ---


def test_missing_labels_are_left_out_exactly() -> None:
    model = tiny_model().eval()
    batch, labelled = tiny_batch((1, -1, 4, -1)), tiny_batch((1, -1, 4, -1))
    labelled["mri"] = batch["mri"][[0, 2]]
    labelled["targets"] = {name: value[[0, 2]] for name, value in batch["targets"].items()}
    labelled["knee"], labelled["subject"] = ["a", "b"], ["a", "b"]
    with_missing, without = step(model, batch), step(model, labelled)
    assert with_missing["loss"].item() == pytest.approx(without["loss"].item(), rel=1e-6)
    ours, expected = _gradients(model, with_missing["loss"]), _gradients(model, without["loss"])
    for name, gradient in expected.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-6)


def test_one_level_may_be_missing() -> None:
    model = tiny_model()
    batch = tiny_batch((1, 3))
    batch["targets"]["kl"] = torch.full((2,), MISSING)
    output = step(model, batch)
    assert set(output["losses"]) == {"oa"}
    torch.testing.assert_close(output["loss"].detach(), output["losses"]["oa"])


@pytest.mark.parametrize("weighting", [None, oh.UncertaintyWeights()], ids=["fixed", "learned"])
@pytest.mark.parametrize("missing", [{"kl"}, {"oa"}, {"oa", "kl"}], ids=lambda names: "+".join(sorted(names)))
def test_every_parameter_has_a_gradient_whatever_is_missing(weighting: Any, missing: set[str]) -> None:
    """DDP waits for each of them."""
    model = tiny_model(loss_weights=copy.deepcopy(weighting))
    batch = tiny_batch((1, 3))
    for name in missing:
        batch["targets"][name] = torch.full((2,), MISSING)
    output = step(model, batch)
    gradients = _gradients(model, output["loss"])
    assert all(gradient is not None for gradient in gradients.values())
    for name in missing:
        assert not any(gradients[f"heads.{name}.projection.{part}"].any() for part in ("weight", "bias"))
    if len(missing) == 2:
        assert output["loss"].item() == 0
        assert not any(gradient.any() for gradient in gradients.values())


def test_training_goes_on_after_a_batch_without_labels(tmp_path: Path) -> None:
    model = tiny_model(optimizer=functools.partial(torch.optim.SGD, lr=0.1))
    before = copy.deepcopy(model.state_dict())
    batches = [tiny_batch((-1, -1)), tiny_batch((0, 4), first=2)]
    trainer = fit(tmp_path, model, batches)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert not torch.equal(before["heads.kl.projection.weight"], model.heads["kl"].projection.weight)
    assert trainer.callback_metrics["train/loss"].isfinite()


def test_logged_losses_are_means_over_labelled_knees(tmp_path: Path) -> None:
    model = tiny_model().eval()
    batches = [tiny_batch((0, 4, -1)), tiny_batch((-1, -1), first=3), tiny_batch((2,), first=5)]
    trainer = tiny_trainer(tmp_path)
    trainer.test(model, tiny_dataloader(batches), verbose=False)
    rows = [step(model, batch)["losses"] for batch in batches]
    for name in ("oa", "kl"):
        expected = (2 * rows[0][name] + rows[2][name]) / 3
        assert trainer.callback_metrics[f"test/{name}/loss"].item() == pytest.approx(
            expected.item(), rel=1e-5
        )
    expected = (2 * sum(rows[0].values()) + sum(rows[2].values())) / 3
    assert trainer.callback_metrics["test/loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_loss_of_a_head_without_any_label_is_nan(tmp_path: Path) -> None:
    batch = tiny_batch((1, 3))
    batch["targets"]["kl"] = torch.full((2,), MISSING)
    trainer = tiny_trainer(tmp_path)
    trainer.test(tiny_model(), tiny_dataloader([batch]), verbose=False)
    assert trainer.callback_metrics["test/kl/loss"].isnan()
    assert trainer.callback_metrics["test/loss"].isfinite()


def test_prediction_needs_no_targets(tmp_path: Path) -> None:
    batch = tiny_batch()
    batch["targets"] = {}
    (output,) = tiny_trainer(tmp_path).predict(tiny_model(), tiny_dataloader([batch]))
    assert output["targets"]["kl"].tolist() == [MISSING, MISSING]
    assert output["losses"] == {}


# --- heads ---


def test_probe_teaches_the_encoder_nothing() -> None:
    model = oh.HierarchicalClassifier(
        TinyEncoder(), {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead(5, probe=True)}
    ).eval()
    batch = tiny_batch((0, 2, 4))
    output = step(model, batch)
    alone = step(_without(model, "kl"), batch)
    torch.testing.assert_close(output["loss"].detach(), alone["loss"].detach() + output["losses"]["kl"])
    gradients = _gradients(model, output["loss"])
    expected = _gradients(model, F.binary_cross_entropy_with_logits(
        model(batch["mri"])["oa"][:, 0], batch["targets"]["oa"].float()
    ))  # fmt: skip
    for name, gradient in gradients.items():
        if name.startswith(("encoder.", "heads.oa")):
            torch.testing.assert_close(gradient, expected[name])
    assert gradients["heads.kl.projection.weight"].any()


def _without(model: oh.HierarchicalClassifier, name: str) -> oh.HierarchicalClassifier:
    single = oh.HierarchicalClassifier(TinyEncoder(), {"oa": oh.BinaryHead()}).eval()
    state = {key: item for key, item in model.state_dict().items() if not key.startswith(f"heads.{name}.")}
    single.load_state_dict(state)
    return single


def test_probes_only_leave_the_encoder_as_it_is() -> None:
    model = oh.HierarchicalClassifier(TinyEncoder(), {"kl": oh.SoftmaxHead(5, probe=True)})
    gradients = _gradients(model, step(model, tiny_batch())["loss"])
    for name, gradient in gradients.items():
        assert gradient is not None
        assert gradient.any() == name.startswith("heads.")


def test_published_dual_reads_the_grades() -> None:
    """The OA head of arXiv:2605.00718 is a linear layer from five KL logits to two."""
    model = oh.HierarchicalClassifier(
        TinyEncoder(), {"oa": oh.SoftmaxHead(2, reads="kl"), "kl": oh.SoftmaxHead(5)}
    )
    assert model.heads["oa"].projection.weight.shape == (2, 5)
    assert list(model.heads) == ["oa", "kl"]
    logits = model(tiny_batch()["mri"])
    assert list(logits) == ["oa", "kl"]
    torch.testing.assert_close(logits["oa"], model.heads["oa"].projection(logits["kl"]))
    gradients = _gradients(model, F.cross_entropy(logits["oa"], torch.tensor([0, 1])))
    assert gradients["heads.kl.projection.weight"].any()


def test_probe_that_reads_another_head_teaches_it_nothing() -> None:
    model = oh.HierarchicalClassifier(
        TinyEncoder(), {"kl": oh.SoftmaxHead(5), "oa": oh.SoftmaxHead(2, reads="kl", probe=True)}
    )
    loss = F.cross_entropy(model(tiny_batch()["mri"])["oa"], torch.tensor([0, 1]))
    gradients = _gradients(model, loss)
    assert gradients["heads.kl.projection.weight"] is None
    assert gradients["heads.oa.projection.weight"].any()


def test_reading_in_a_chain() -> None:
    heads = {"c": oh.SoftmaxHead(2, reads="b", target="oa"), "b": oh.SoftmaxHead(3, reads="a", target="oa")}
    model = oh.HierarchicalClassifier(TinyEncoder(), {**heads, "a": oh.SoftmaxHead(4, target="oa")})
    assert model.heads["c"].projection.in_features == 3
    assert model.heads["b"].projection.in_features == 4
    assert set(step(model, tiny_batch())["losses"]) == {"a", "b", "c"}


def test_overfits_eight_volumes(tmp_path: Path) -> None:
    batch = tiny_batch((0, 1, 2, 3, 4, 0, 2, 4), (12, 12, 12))
    model = oh.HierarchicalClassifier(
        nn.Sequential(nn.Conv3d(1, 16, 5, stride=3), nn.ReLU(), nn.Conv3d(16, 32, 2, stride=2), nn.ReLU()),
        {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()},
        optimizer=functools.partial(torch.optim.Adam, lr=0.01),
    )
    trainer = fit(tmp_path, model, [batch], max_epochs=150, limit_val_batches=0)
    assert trainer.callback_metrics["train/loss"] < 0.2
    output = step(model.eval(), batch)
    assert torch.equal(output["probabilities"]["kl"].argmax(dim=1), batch["targets"]["kl"])
    assert torch.equal(output["probabilities"]["oa"].argmax(dim=1), batch["targets"]["oa"])


def test_heads_stay_in_full_precision_under_autocast() -> None:
    model = tiny_model().eval()
    volume = tiny_batch(shape=(8, 8, 8))["mri"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = model.encoder.features(volume)
        logits = model(volume)
    assert features[-1].dtype == torch.bfloat16
    assert all(value.dtype == torch.float32 for value in logits.values())
    for name, value in model(volume).items():
        torch.testing.assert_close(logits[name], value, rtol=0.1, atol=0.05)


def test_half_precision_training(tmp_path: Path) -> None:
    model = tiny_model()
    trainer = fit(tmp_path, model, tiny_batches(1, shape=(8, 8, 8)), precision="bf16-mixed")
    assert trainer.callback_metrics["val/loss"].isfinite()


@pytest.mark.parametrize("encoder", ["resnet3d", "timm3d/resnet18"])
def test_forward_exports(encoder: str) -> None:
    made: Any = oh.ResNet3D(10, 8) if encoder == "resnet3d" else encoder
    heads = {"oa": oh.SoftmaxHead(2, reads="kl"), "kl": oh.SoftmaxHead()}
    model = oh.HierarchicalClassifier(made, heads).eval()
    volume = torch.randn(2, 1, 32, 32, 32)
    program = torch.export.export(model, (volume,))
    with torch.no_grad():
        expected, found = model(volume), program.module()(volume)
    assert set(found) == {"oa", "kl"}
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)
