"""Losses of an epoch: every knee once, the objective of the means, and means over all steps of training."""

from __future__ import annotations

import math

import lightning as L
import pytest
import torch

import oahier as oh
from oahier.losses import Term
from oahier.testing.batches import tiny_batch, tiny_dataloader
from oahier.testing.model import tiny_model, tiny_trainer

BATCHES = (((0, 1, -1, 4), 0), ((2,), 1), ((-1, -1, 3), 2))


def batches():
    """Of unequal size, with missing grades, the last knee twice."""
    made = [tiny_batch(grades, seed=seed, first=10 * seed) for grades, seed in BATCHES]
    return [*made, made[-1]]


class Size(Term):
    """The mean square of the embeddings of a batch."""

    def forward(self, step):
        return step["embedding"].square().mean()


def row_losses(model, shown):
    """Losses of all rows by head, computed one knee at a time."""
    model.eval()
    with torch.no_grad():
        outputs = [model.predict_step(batch, 0) for batch in shown]
    return {
        name: torch.cat([output["row_losses"][name] for output in outputs]).double() for name in model.heads
    }


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_epoch_losses_count_every_knee_once(tmp_path, stage):
    model = tiny_model(loss_weights={"oa": 0.5, "kl": 2.0, "size": 3.0}, terms={"size": Size()})
    trainer = tiny_trainer(tmp_path)
    getattr(trainer, stage)(model, tiny_dataloader(batches()), verbose=False)
    rows = row_losses(model, batches()[:-1])
    means = {name: values.nanmean().item() for name, values in rows.items()}
    with torch.no_grad():
        sizes = [
            model.encoder(batch["mri"]).square().mean().expand(len(batch["mri"])) for batch in batches()[:-1]
        ]
    size = torch.cat(sizes).double().mean().item()
    prefix = "val" if stage == "validate" else "test"
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert found == pytest.approx({
        f"{prefix}/kl/loss": means["kl"], f"{prefix}/oa/loss": means["oa"], f"{prefix}/size/loss": size,
        f"{prefix}/loss": 0.5 * means["oa"] + 2 * means["kl"] + 3 * size,
    }, rel=1e-5)  # fmt: skip


def test_the_objective_is_that_of_the_epoch_also_for_a_weighting_that_bends(tmp_path):
    model = tiny_model(loss_weights=oh.UncertaintyWeights())
    with torch.no_grad():
        model.weighting.log_variances["kl"].fill_(1.0)
    trainer = tiny_trainer(tmp_path)
    trainer.validate(model, tiny_dataloader(batches()), verbose=False)
    means = {name: values.nanmean() for name, values in row_losses(model, batches()[:-1]).items()}
    expected = model.weighting(means).item()
    assert trainer.callback_metrics["val/loss"].item() == pytest.approx(expected, rel=1e-5)


def test_a_head_without_labels_has_no_loss_and_takes_no_part(tmp_path):
    model, trainer = tiny_model(), tiny_trainer(tmp_path)
    unlabelled = tiny_batch((0, 1, 2), seed=1)
    unlabelled["targets"]["kl"][:] = -1
    trainer.validate(model, tiny_dataloader([unlabelled]), verbose=False)
    found = trainer.callback_metrics
    assert math.isnan(found["val/kl/loss"])
    assert found["val/loss"] == found["val/oa/loss"]
    unlabelled["targets"]["oa"][:] = -1
    trainer.validate(model, tiny_dataloader([unlabelled]), verbose=False)
    assert math.isnan(trainer.callback_metrics["val/loss"])


@pytest.mark.filterwarnings("ignore:.*in eval mode at the start of training.*")
def test_training_losses_are_means_over_the_knees_with_a_label(tmp_path):
    model = tiny_model(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    model.encoder.eval()  # neither dropout nor batch statistics
    trainer = tiny_trainer(tmp_path)
    loader = tiny_dataloader(batches()[:-1])
    trainer.fit(model, loader, loader)
    rows = row_losses(model, batches()[:-1])
    for name, values in rows.items():
        expected = values.nanmean().item()
        assert trainer.callback_metrics[f"train/{name}/loss"].item() == pytest.approx(expected, rel=1e-5)


def test_training_losses_are_of_their_own_epoch_and_logged_once(tmp_path, monkeypatch):
    """Lightning keeps what is logged first in an epoch; to log it at every step costs a millisecond."""
    model = tiny_model(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5))
    steps, epochs, logged = [], [], []
    log = type(model).log

    def counted(self, name, value, **options):
        logged.append(name)
        log(self, name, value, **options)

    class Keep(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            steps.append(outputs["losses"]["kl"].item())

        def on_train_epoch_end(self, trainer, pl_module):
            epochs.append(trainer.callback_metrics["train/kl/loss"].item())

    monkeypatch.setattr(type(model), "log", counted)
    loader = tiny_dataloader([tiny_batch((0, 3)), tiny_batch((1, 4)), tiny_batch((2, 2))])
    for limit in (2, 1):  # another trainer begins anew, also where the last one stopped within an epoch
        stopping = {"max_steps": 5} if limit == 2 else {}
        trainer = tiny_trainer(tmp_path / str(limit), max_epochs=limit, callbacks=[Keep()], **stopping)
        trainer.fit(model, loader, loader)
    assert epochs[0] == pytest.approx(sum(steps[:3]) / 3, rel=1e-5)
    assert epochs[1] == pytest.approx(sum(steps[3:5]) / 2, rel=1e-5)
    assert epochs[2] == pytest.approx(sum(steps[5:]) / 3, rel=1e-5)
    assert len({steps[0], steps[3], steps[5]}) == 3
    assert logged.count("train/kl/loss") == 3


def test_several_dataloaders_are_refused_with_what_to_do(tmp_path):
    two = [tiny_dataloader(batches()), tiny_dataloader(batches())]
    with pytest.raises(ValueError, match="expected one val dataloader, got 2; evaluate them one after"):
        tiny_trainer(tmp_path).validate(tiny_model(), two, verbose=False)
    with pytest.raises(ValueError, match="expected one val dataloader, got 2; evaluate them one after"):
        tiny_trainer(tmp_path).fit(tiny_model(), two[0], two)


@pytest.mark.parametrize("shown", [False, True])
def test_the_loss_of_a_step_is_logged_only_where_a_bar_shows_it(tmp_path, shown):
    """Lightning needs about a millisecond for it in every step."""
    trainer = tiny_trainer(tmp_path, enable_progress_bar=shown)
    loader = tiny_dataloader(batches()[:-1])
    trainer.fit(tiny_model(), loader, loader)
    assert ("loss" in trainer.progress_bar_metrics) == shown
    assert "train/loss" in trainer.callback_metrics
