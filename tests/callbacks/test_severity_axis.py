"""The severity axis callback: what it fits on, what it keeps, and that it disturbs nothing."""

import logging
import math

import jaxtyping
import lightning as L
import pandas as pd
import pytest
import torch
from torch import nn

import oahier as oh
from oahier.latent import axis_measures, fit_severity_axis
from oahier.testing import check_callback
from oahier.testing.batches import tiny_batch, tiny_batches, tiny_dataloader
from oahier.testing.model import tiny_trainer


@pytest.fixture
def shapes_unchecked():
    """The shape checker draws from python's random state, which the contract watches."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def still_model():
    """A model that training does not change: no dropout, no batch statistics, no learning rate."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv3d(1, 6, 3, 2, 1), nn.ELU(), nn.Conv3d(6, 6, 3, 2, 1), nn.ELU())
        encoder = oh.PlainEncoder(module, num_features=6)
        return oh.HierarchicalClassifier(
            encoder,
            {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()},
            optimizer=lambda p: torch.optim.SGD(p, lr=0.0),
        )


def embeddings_of(model, batches):
    model.eval()
    with torch.no_grad():
        return torch.cat([model.encoder(batch["mri"]) for batch in batches])


def grades_of(batches):
    return torch.cat([batch["targets"]["kl"] for batch in batches])


class Fits(L.Callback):
    """Notes the axis after each validation."""

    def __init__(self, axis):
        self.axis, self.seen = axis, []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.seen.append(self.axis.fit)


def test_contract(shapes_unchecked):
    check_callback(oh.SeverityAxis)


@pytest.mark.parametrize("kind", ["pca", "regression"])
def test_fits_on_training_knees_and_measures_held_out_ones(tmp_path, kind):
    train, val = tiny_batches(8, 3, seed=1), tiny_batches(5, 3, seed=2)
    model, callback = still_model(), oh.SeverityAxis(kind)
    trainer = tiny_trainer(tmp_path, callbacks=[callback], max_epochs=2)
    trainer.fit(model, tiny_dataloader(train, shuffle=True), tiny_dataloader(val))

    fit = fit_severity_axis(embeddings_of(model, train), grades_of(train), kind=kind)
    expected = axis_measures(fit, embeddings_of(model, val), grades_of(val))
    logged = {name: trainer.callback_metrics[f"val/axis/{name}"].item() for name in expected}
    assert logged == pytest.approx(expected, rel=1e-4, nan_ok=True)
    assert callback.fit.knees == 24

    table = pd.read_csv(tmp_path / "validation" / "severity_axis.csv")
    assert list(table.columns) == ["knee", "subject", "projection", "second", "kl", "oa", "split"]
    assert table["split"].value_counts().to_dict() == {"train": 24, "val": 15}
    held_out = table[table["split"] == "val"]
    assert list(held_out["kl"]) == grades_of(val).tolist()
    projection = torch.tensor(held_out["projection"].to_numpy())
    torch.testing.assert_close(projection, fit.project(embeddings_of(model, val)), rtol=1e-4, atol=1e-4)
    assert (tmp_path / "validation" / "pictures" / "severity_axis.png").stat().st_size > 10_000


def test_mid_epoch_validation_adds_the_knees_of_the_epoch_before(tmp_path):
    callback = oh.SeverityAxis(picture_every_n_epochs=0)
    fits = Fits(callback)
    trainer = tiny_trainer(tmp_path, callbacks=[callback, fits], max_epochs=2, val_check_interval=2)
    trainer.fit(still_model(), tiny_dataloader(tiny_batches(4, 3)), tiny_dataloader(tiny_batches(2, 3)))
    assert [fit.knees for fit in fits.seen] == [6, 12, 12, 12]


def test_accumulated_gradients_do_not_lose_knees(tmp_path):
    callback = oh.SeverityAxis()
    trainer = tiny_trainer(tmp_path, callbacks=[callback], accumulate_grad_batches=3)
    trainer.fit(still_model(), tiny_dataloader(tiny_batches(4, 3)), tiny_dataloader(tiny_batches(2, 3)))
    assert callback.fit.knees == 12


def test_the_sanity_check_measures_nothing(tmp_path):
    trainer = tiny_trainer(
        tmp_path,
        callbacks=[oh.SeverityAxis()],
        num_sanity_val_steps=2,
        limit_train_batches=1,
        limit_val_batches=0,
    )
    trainer.fit(still_model(), tiny_dataloader(tiny_batches(2)), tiny_dataloader(tiny_batches(2)))
    assert not (tmp_path / "validation").exists()
    assert not any("axis" in name for name in trainer.callback_metrics)


def test_testing_uses_the_axis_of_the_checkpoint(tmp_path, caplog):
    train, val, test = (tiny_batches(4, 3, seed=seed) for seed in (1, 2, 3))
    model, callback = still_model(), oh.SeverityAxis(picture_every_n_epochs=0)
    trainer = tiny_trainer(tmp_path / "fit", callbacks=[callback])
    trainer.fit(model, tiny_dataloader(train), tiny_dataloader(val))
    trainer.save_checkpoint(tmp_path / "full.ckpt")
    trainer.save_checkpoint(tmp_path / "weights.ckpt", weights_only=True)
    expected = axis_measures(callback.fit, embeddings_of(model, test), grades_of(test))

    other = oh.SeverityAxis()
    fresh = tiny_trainer(tmp_path / "test", callbacks=[other])
    fresh.test(
        still_model(),
        tiny_dataloader(test),
        ckpt_path=tmp_path / "full.ckpt",
        weights_only=True,
        verbose=False,
    )
    assert torch.equal(other.fit.direction, callback.fit.direction)
    values = {name: fresh.callback_metrics[f"test/axis/{name}"].item() for name in expected}
    assert values == pytest.approx(expected, rel=1e-4, nan_ok=True)
    table = pd.read_csv(tmp_path / "test" / "severity_axis.csv")
    assert set(table["split"]) == {"test"}
    assert (tmp_path / "test" / "pictures" / "severity_axis.png").exists()

    with caplog.at_level(logging.WARNING, "oahier"):  # the axis in memory is of another model
        fresh.test(still_model(), tiny_dataloader(test), ckpt_path=tmp_path / "weights.ckpt", verbose=False)
    assert "no axis was fitted" in caplog.text
    assert math.isnan(fresh.callback_metrics["test/axis/spearman_kl"])

    caplog.clear()
    trainer.test(model, tiny_dataloader(test), verbose=False)  # right after training
    assert "no axis" not in caplog.text
    assert trainer.callback_metrics["test/axis/spearman_kl"].item() == pytest.approx(
        expected["spearman_kl"], rel=1e-4
    )


def test_prediction_places_knees_without_labels_on_the_axis(tmp_path):
    callback = oh.SeverityAxis()
    model, trainer = still_model(), tiny_trainer(tmp_path, callbacks=[callback])
    trainer.fit(model, tiny_dataloader(tiny_batches(4, 3)), tiny_dataloader(tiny_batches(2, 3)))
    unknown = [tiny_batch((-1, -1, -1), first=50)]
    trainer.predict(model, tiny_dataloader(unknown), return_predictions=False)
    table = pd.read_csv(tmp_path / "predict" / "severity_axis.csv")
    assert table["kl"].isna().all()
    torch.testing.assert_close(
        torch.tensor(table["projection"].to_numpy()),
        callback.fit.project(embeddings_of(model, unknown)),
        rtol=1e-4,
        atol=1e-4,
    )
