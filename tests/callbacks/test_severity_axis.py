"""The severity axis callback: what it fits on, what it keeps, and that it disturbs nothing."""

import functools
import logging
import math
from pathlib import Path

import jaxtyping
import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import oahier as oh
from oahier.callbacks import BestCheckpoint
from oahier.latent import axis_measures, fit_severity_axis
from oahier.latent.reference_file import read_reference, reference_path
from oahier.model.checkpoints import checkpoint_hash
from oahier.testing import check_callback
from oahier.testing.batches import tiny_batch, tiny_batches, tiny_dataloader
from oahier.testing.model import tiny_model, tiny_trainer
from oahier.testing.watch import Watch


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
    logged = {name: trainer.callback_metrics[f"val/axis_online/{name}"].item() for name in expected}
    assert not any(name.startswith("val/axis/") for name in trainer.callback_metrics)
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
    callback = oh.SeverityAxis(figure_every_n_epochs=0)
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


def restless_model():
    """A model whose training mode differs from its evaluation mode, and whose weights move."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return tiny_model(optimizer=functools.partial(torch.optim.SGD, lr=0.05))


class Knees(L.LightningDataModule):
    """Training and held-out batches, as the data module of the library hands them out."""

    def __init__(self, train=6, val=3, test=4):
        super().__init__()
        self.batches = {
            split: tiny_batches(count, 3, seed=seed)
            for seed, (split, count) in enumerate({"train": train, "val": val, "test": test}.items())
        }
        self.passes = []

    def train_dataloader(self):
        return tiny_dataloader(self.batches["train"], shuffle=True)

    def val_dataloader(self):
        return tiny_dataloader(self.batches["val"])

    def test_dataloader(self):
        return tiny_dataloader(self.batches["test"])

    def evaluation_dataloader(self, split):
        self.passes.append(split)
        return tiny_dataloader(self.batches[split])


def expected_metrics(model, data, split, kind="pca"):
    """The axis of embeddings in evaluation mode."""
    train, held_out = data.batches["train"], data.batches[split]
    fit = fit_severity_axis(embeddings_of(model, train), grades_of(train), kind=kind)
    return axis_measures(fit, embeddings_of(model, held_out), grades_of(held_out))


def measured(trainer, prefix):
    """The metrics of an axis, without their chance levels."""
    values = trainer.callback_metrics.items()
    found = {k: v.item() for k, v in values if k.startswith(prefix) and "_chance" not in k}
    return {name.removeprefix(prefix): value for name, value in found.items()}


@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint need to be provided.*")
def test_the_axis_is_that_of_evaluation_mode_and_is_kept_beside_the_best_checkpoint(tmp_path):
    data, model = Knees(), restless_model()
    best = BestCheckpoint("val/loss", "min")
    trainer = tiny_trainer(
        tmp_path, callbacks=[oh.SeverityAxis(), best], max_epochs=3, enable_checkpointing=True
    )
    trainer.fit(model, datamodule=data)
    path = Path(best.best_model_path)
    assert data.passes == ["val", "train"]
    kept = read_reference(path, checkpoint_hash(path))
    again = oh.HierarchicalClassifier.load_from_checkpoint(path, encoder=restless_model().encoder)
    torch.testing.assert_close(kept.embeddings, embeddings_of(again, data.batches["train"]))
    torch.testing.assert_close(kept.held_out, embeddings_of(again, data.batches["val"]))
    final = pd.read_csv(tmp_path / "validation" / "severity_axis.csv")
    assert final["split"].value_counts().to_dict() == {"train": 18, "val": 9}

    fresh = tiny_trainer(tmp_path / "test", callbacks=[oh.SeverityAxis()])
    other = Knees()
    fresh.test(again, datamodule=other, ckpt_path=path, weights_only=True, verbose=False)
    assert other.passes == []  # the store is read
    wanted = expected_metrics(again, data, "test")
    assert measured(fresh, "test/axis/") == pytest.approx(wanted, rel=1e-4, nan_ok=True)
    assert measured(fresh, "test/axis_online/") == {}
    assert -1 <= fresh.callback_metrics["test/axis/spearman_kl_chance"].item() <= 1

    reference_path(path).unlink()  # a checkpoint that came alone: computed from the training split, and kept
    alone = tiny_trainer(
        tmp_path / "alone", callbacks=[oh.SeverityAxis(), oh.SeverityAxis("lda", name="lda")]
    )
    alone.test(again, datamodule=other, ckpt_path=path, weights_only=True, verbose=False)
    assert other.passes == ["train", "val"]  # once for both axes
    assert measured(alone, "test/axis/") == pytest.approx(wanted, rel=1e-4, nan_ok=True)
    lda = expected_metrics(again, data, "test", "lda")
    assert measured(alone, "test/lda/")["separation"] == pytest.approx(lda["separation"], rel=1e-3)
    assert (tmp_path / "alone" / "severity_lda.csv").is_file()
    assert read_reference(path, checkpoint_hash(path)) is not None

    reference_path(path).write_bytes(b"damaged")
    alone.validate(again, datamodule=other, ckpt_path=path, weights_only=True, verbose=False)
    assert measured(alone, "val/axis/") == pytest.approx(
        expected_metrics(again, data, "val"), rel=1e-4, nan_ok=True
    )


def test_a_file_of_other_weights_is_not_read(tmp_path):
    data, model = Knees(), restless_model()
    trainer = tiny_trainer(tmp_path, callbacks=[oh.SeverityAxis()], max_epochs=1)
    trainer.fit(model, datamodule=data)
    for name in ("one", "two"):
        trainer.save_checkpoint(tmp_path / f"{name}.ckpt")
        with torch.no_grad():
            next(model.parameters()).mul_(1.5)
    trainer.test(model, ckpt_path=tmp_path / "one.ckpt", datamodule=data, weights_only=True, verbose=False)
    reference_path(tmp_path / "one.ckpt").rename(reference_path(tmp_path / "two.ckpt"))
    trainer.test(model, ckpt_path=tmp_path / "two.ckpt", datamodule=data, weights_only=True, verbose=False)
    assert measured(trainer, "test/axis/") == pytest.approx(
        expected_metrics(model, data, "test"), rel=1e-4, nan_ok=True
    )


def test_embedding_the_training_split_every_epoch_measures_the_axis_itself(tmp_path):
    data, model = Knees(), restless_model()
    trainer = tiny_trainer(tmp_path, callbacks=[oh.SeverityAxis(embed_every_epoch=True)], max_epochs=2)
    trainer.fit(model, datamodule=data)
    assert data.passes == ["train", "train"]
    wanted = expected_metrics(model, data, "val")
    assert measured(trainer, "val/axis/") == pytest.approx(wanted, rel=1e-4, nan_ok=True)
    assert measured(trainer, "val/axis_online/") == {}
    plain = tiny_trainer(tmp_path, callbacks=[oh.SeverityAxis(embed_every_epoch=True)])
    with pytest.raises(ValueError, match="expected a data module with evaluation_dataloader"):
        plain.fit(model, tiny_dataloader(tiny_batches(1)), tiny_dataloader(tiny_batches(1)))


@pytest.mark.parametrize("every", [False, True])
def test_weights_and_random_states_do_not_notice_the_passes(tmp_path, every, shapes_unchecked):
    looks = []
    for with_axis in (True, False):
        L.seed_everything(4, verbose=False)
        data, model, watch = Knees(), tiny_model(), Watch()
        callbacks = [oh.SeverityAxis(embed_every_epoch=every, figure_every_n_epochs=0)] * with_axis
        best = BestCheckpoint("val/loss", "min")
        trainer = tiny_trainer(
            tmp_path / f"{with_axis}", callbacks=[*callbacks, best, watch], max_epochs=2,
            enable_checkpointing=True,
        )  # fmt: skip
        trainer.fit(model, datamodule=data)
        watch.look("the end", model)
        looks.append(watch)
    assert looks[0].difference(looks[1]) is None


def test_without_training_knees_the_axis_is_undefined_and_says_so(tmp_path, caplog):
    test = tiny_dataloader(tiny_batches(4, 3, seed=3))
    trainer = tiny_trainer(tmp_path, callbacks=[oh.SeverityAxis()])
    with caplog.at_level(logging.WARNING, "oahier"):
        trainer.test(still_model(), test, verbose=False)
    assert "no training knees to fit the axis on" in caplog.text
    assert math.isnan(trainer.callback_metrics["test/axis/spearman_kl"])


def test_right_after_training_the_loader_of_the_training_is_used(tmp_path):
    train, test = (tiny_batches(4, 3, seed=seed) for seed in (1, 3))
    model, callback = still_model(), oh.SeverityAxis()
    trainer = tiny_trainer(tmp_path, callbacks=[callback])
    trainer.fit(model, tiny_dataloader(train, shuffle=True), tiny_dataloader(tiny_batches(2, 3)))
    trainer.test(model, tiny_dataloader(test), verbose=False)
    fit = fit_severity_axis(embeddings_of(model, train), grades_of(train))
    wanted = axis_measures(fit, embeddings_of(model, test), grades_of(test))
    assert measured(trainer, "test/axis/") == pytest.approx(wanted, rel=1e-4, nan_ok=True)
    assert set(pd.read_csv(tmp_path / "severity_axis.csv")["split"]) == {"test"}


def test_a_kind_of_a_users_own(tmp_path):
    def first_feature(standard, grades):
        return np.eye(standard.shape[1])[0]

    model, callback = still_model(), oh.SeverityAxis(first_feature)
    trainer = tiny_trainer(tmp_path, callbacks=[callback])
    trainer.fit(model, tiny_dataloader(tiny_batches(4, 3)), tiny_dataloader(tiny_batches(2, 3)))
    assert callback.fit.kind == "first_feature"
    assert callback.fit.direction.abs().tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


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
