"""OrdinalMetrics logs what the functions say of all knees, whatever the shape of the run."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import random

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from oahier.callbacks import LearningCurves, OrdinalMetrics, PredictionWriter
from oahier.callbacks.head_predictions import HeadTable, hierarchy_groups
from oahier.hierarchy import oa_from_kl, oa_probability_from_kl
from oahier.metrics import (
    Metric,
    binary_metrics,
    hierarchy_metrics,
    ordinal_metrics,
    registered,
    weighted_mean,
)
from oahier.model.checkpoints import epochs_and_steps, without_people


@pytest.fixture(autouse=True)
def _draw_only_where_it_matters(request, monkeypatch):
    """Drawing takes longer than everything else here."""
    if not any(word in request.node.name for word in ("pictures", "bit_equal")):
        monkeypatch.setattr(HeadTable, "pictures", lambda self, stage: {})


class Values(L.Callback):
    """Remembers the values logged in each validation."""

    def __init__(self):
        self.validations = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            logged = trainer.callback_metrics.items()
            self.validations.append({name: value.item() for name, value in logged if name.startswith("val/")})


def _expected(model, dataset, stage):
    """The measures of one forward pass over all knees."""
    model.eval()
    rows = [dataset[index] for index in range(len(dataset))]
    batch = {
        "mri": torch.stack([row["mri"] for row in rows]),
        "targets": {name: torch.stack([row["targets"][name] for row in rows]) for name in ("oa", "kl")},
        "knee": [row["knee"] for row in rows],
        "subject": [row["subject"] for row in rows],
    }
    with torch.no_grad():
        output = model.outputs(batch)
    kl, oa = output["probabilities"]["kl"], output["probabilities"]["oa"][:, 1]
    labels = batch["targets"]["kl"]
    groups = {
        "kl": ordinal_metrics(kl, labels, output["severity"]["kl"]) | {"knees": float((labels >= 0).sum())},
        "oa": binary_metrics(oa, batch["targets"]["oa"]) | {"knees": float(len(rows))},
        "hierarchy": hierarchy_metrics(oa, kl),
    }
    implied = binary_metrics(oa_probability_from_kl(kl), oa_from_kl(labels))
    groups["kl"] |= {f"oa_{name}": value for name, value in implied.items()}
    return {f"{stage}/{group}/{name}": v for group, values in groups.items() for name, v in values.items()}


def test_every_measure_of_validation_and_test(tmp_path, tiny_model, loader, trainer):
    model, validation, test = tiny_model(), loader(21), loader(19)
    values = Values()
    runner = trainer(OrdinalMetrics(), values)
    runner.fit(model, loader(32, shuffle=True), validation)
    logged = dict(values.validations[-1])
    logged.pop("val/loss")
    assert logged == pytest.approx(_expected(model, validation.dataset, "val"), rel=1e-5, nan_ok=True)

    (logged,) = runner.test(model, test, verbose=False)
    assert logged == pytest.approx(_expected(model, test.dataset, "test"), rel=1e-5, nan_ok=True)


def test_sanity_check_leaves_no_trace(tmp_path, tiny_model, loader, trainer):
    class Witness(L.Callback):
        def on_sanity_check_end(self, trainer, pl_module):
            assert not (tmp_path / "validation").exists()
            assert not any(name.startswith("val/kl") for name in trainer.callback_metrics)

    values = Values()
    runner = trainer(
        OrdinalMetrics(), PredictionWriter(), values, Witness(), num_sanity_val_steps=1, max_epochs=1
    )
    runner.fit(tiny_model(), loader(16), loader(12))
    assert [logged["val/kl/knees"] for logged in values.validations] == [12.0]


def test_mid_epoch_validation_with_accumulated_gradients(tiny_model, loader, trainer):
    values = Values()
    runner = trainer(
        OrdinalMetrics(), values, val_check_interval=0.5, accumulate_grad_batches=3, max_epochs=2
    )
    runner.fit(tiny_model(), loader(48), loader(13))
    assert [logged["val/kl/knees"] for logged in values.validations] == [13.0] * 4
    assert len({logged["val/kl/rps"] for logged in values.validations}) == 4


def test_bf16_gives_nearly_the_same(tiny_model, loader, trainer):
    model = tiny_model()
    (exact,) = trainer(OrdinalMetrics()).validate(model, loader(40), verbose=False)
    (rounded,) = trainer(OrdinalMetrics(), precision="bf16-mixed").validate(model, loader(40), verbose=False)
    assert rounded.keys() == exact.keys()
    assert rounded["val/kl/rps"] == pytest.approx(exact["val/kl/rps"], rel=0.02)
    assert rounded["val/oa/auc"] == pytest.approx(exact["val/oa/auc"], abs=0.03)


def test_missing_labels_are_left_out_per_head(tiny_model, loader, trainer):
    model, data = tiny_model(), loader(20, unlabelled=(0, 3, 7))
    (logged,) = trainer(OrdinalMetrics()).test(model, data, verbose=False)
    assert (logged["test/kl/knees"], logged["test/oa/knees"]) == (17, 20)
    assert logged == pytest.approx(_expected(model, data.dataset, "test"), rel=1e-5, nan_ok=True)


def test_undefined_measures_are_nan_and_said_once(tmp_path, tiny_model, loader, trainer, caplog):
    with caplog.at_level(logging.WARNING, "oahier"):
        trainer(OrdinalMetrics(), max_epochs=3).fit(tiny_model("kl"), loader(16), loader(12, grades=2))
    messages = [record.getMessage() for record in caplog.records if record.name == "oahier.ordinal_metrics"]
    about_labels = "12 labelled knees: KL 0 6, KL 1 6, KL 2 0, KL 3 0, KL 4 0"
    assert messages
    assert len(messages) == len(set(messages))
    assert all(message.startswith("val/kl: undefined (NaN): ") for message in messages)
    assert all(message.endswith(about_labels) for message in messages)
    assert "macro_auc" in messages[0]
    assert "oa_auc" in messages[0]

    content = json.loads((tmp_path / "validation" / "metrics.json").read_text())
    assert content["metrics"]["val/kl/macro_auc"] is None
    assert content["metrics"]["val/kl/rps"] > 0


def test_a_diverged_model_gives_nan_not_numbers(tiny_model, loader, trainer, caplog):
    model = tiny_model()
    with torch.no_grad():
        model.heads["kl"].weight.fill_(math.nan)
    (logged,) = trainer(OrdinalMetrics()).test(model, loader(20), verbose=False)
    kl = {n: v for n, v in logged.items() if n.startswith("test/kl/") and n != "test/kl/knees"}
    assert kl
    assert all(math.isnan(value) for value in kl.values())
    assert not math.isnan(logged["test/oa/auc"])
    assert "did training diverge?" in caplog.text


def test_metrics_json_says_which_checkpoint_was_evaluated(tmp_path, tiny_model, loader, trainer):
    """By the hash of its bytes and its epoch, so that nobody takes the figures for those of another one."""
    runner = trainer(OrdinalMetrics(), max_epochs=3)
    runner.fit(tiny_model(), loader(16), loader(12))
    steps = runner.global_step
    checkpoint = tmp_path / "checkpoints" / "some.ckpt"
    runner.save_checkpoint(checkpoint)
    wanted = {"name": "some.ckpt", "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest()}

    def recorded(folder="."):
        content = json.loads((tmp_path / folder / "metrics.json").read_text())
        return content.get("checkpoint", "nothing"), content["epoch"], content["step"]

    assert recorded("validation") == ("nothing", 3, steps), "training has weights in memory only"
    options = {"ckpt_path": checkpoint, "weights_only": True, "verbose": False}
    other = trainer(OrdinalMetrics(), max_epochs=1)
    other.test(tiny_model(), loader(11), **options)
    assert recorded() == (wanted, 3, steps)
    other.validate(tiny_model(), loader(11), **options)
    assert recorded("validation") == (wanted, 3, steps)
    runner.test(tiny_model(), loader(11), verbose=False)
    assert recorded() == (None, None, None)


def test_a_checkpoint_knows_its_epochs_and_steps(tmp_path, tiny_model, loader, trainer):
    """One that an epoch left counts that epoch, as one does that is saved after the training."""
    saved = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=False)
    runner = trainer(saved, max_epochs=2, val_check_interval=0.5, enable_checkpointing=True)
    runner.fit(tiny_model(), loader(16), loader(12))
    runner.save_checkpoint(tmp_path / "after.ckpt")
    steps = runner.global_step
    wanted = {"epoch=0": (1, steps // 2), "epoch=1": (2, steps), "after": (2, steps)}
    for name, (epoch, step) in wanted.items():
        found = epochs_and_steps(tmp_path / f"{name}.ckpt")
        assert found == {"epoch": epoch, "step": step}, name
    torch.save(without_people(tmp_path / "after.ckpt"), tmp_path / "shared.ckpt")
    assert epochs_and_steps(tmp_path / "shared.ckpt")["step"] == steps
    torch.save({"state_dict": {}}, tmp_path / "weights.ckpt")
    assert epochs_and_steps(tmp_path / "weights.ckpt") == {}


def test_metrics_json_is_complete_and_written_last(tmp_path, tiny_model, loader, trainer):
    class Late(L.Callback):
        def on_test_epoch_end(self, trainer, pl_module):
            pl_module.log("test/axis/spearman", 0.5)
            assert not (tmp_path / "metrics.json").exists()

    runner = trainer(OrdinalMetrics(), Late())
    (logged,) = runner.test(tiny_model(), loader(30), verbose=False)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert (content["stage"], content["knees"]) == ("test", 30)
    assert content["metrics"] == pytest.approx(logged)
    assert content["metrics"]["test/axis/spearman"] == 0.5
    for name in ("test/kl/qwk", "test/kl/macro_auc", "test/kl/severe_auc", "test/kl/oa_auc", "test/oa/auc"):
        low, high = content["intervals"][name]
        assert low <= content["metrics"][name] <= high, name
    assert set(content["intervals"]) <= set(content["metrics"])


def test_pictures_are_drawn_on_schedule_and_at_the_end(tmp_path, tiny_model, loader, trainer):
    drawn = []

    class Watched(OrdinalMetrics):
        def _draw(self, trainer, stage):
            drawn.append((stage, trainer.current_epoch))
            super()._draw(trainer, stage)

    model = tiny_model()
    runner = trainer(Watched(figure_every_n_epochs=3), max_epochs=5)
    runner.fit(model, loader(16), loader(12))
    assert drawn == [("val", 0), ("val", 3), ("val", 5)]
    runner.test(model, loader(12), verbose=False)
    assert drawn[3:] == [("test", 5)]
    names = {f"{head}_{kind}.png" for head in ("oa", "kl") for kind in ("confusion_matrix", "reliability")}
    for folder in (tmp_path / "pictures", tmp_path / "validation" / "pictures"):
        assert {path.name for path in folder.iterdir()} == names
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())


def test_no_pictures_in_training_on_request(tmp_path, tiny_model, loader, trainer):
    trainer(OrdinalMetrics(figure_every_n_epochs=0)).fit(tiny_model(), loader(8), loader(8))
    assert (tmp_path / "validation" / "metrics.json").is_file()
    assert not (tmp_path / "validation" / "pictures").exists()
    with pytest.raises(ValueError, match="figure_every_n_epochs must be 0 or more, got -1"):
        OrdinalMetrics(figure_every_n_epochs=-1)


@pytest.mark.parametrize("head", ["oa", "kl"])
def test_one_head_alone(head, tiny_model, loader, trainer):
    (logged,) = trainer(OrdinalMetrics()).test(tiny_model(head), loader(20), verbose=False)
    assert {name.split("/")[1] for name in logged} == {head}
    assert ("test/kl/oa_auc" in logged) == (head == "kl")


def test_every_pair_of_levels_when_a_level_has_two_heads(tiny_model, loader, trainer):
    (logged,) = trainer(OrdinalMetrics()).test(tiny_model("oa", "kl", "kl_probe"), loader(20), verbose=False)
    groups = {name.split("/")[1] for name in logged}
    assert groups == {"oa", "kl", "kl_probe", "hierarchy_oa_kl", "hierarchy_oa_kl_probe"}
    assert "test/kl_probe/oa_auc" in logged


def test_several_dataloaders_are_refused(tiny_model, loader, trainer):
    runner = trainer(OrdinalMetrics())
    with pytest.raises(ValueError, match="OrdinalMetrics: expected one test dataloader, got 2"):
        runner.test(tiny_model(), [loader(8), loader(8)], verbose=False)
    with pytest.raises(ValueError, match="OrdinalMetrics: expected one val dataloader, got 2"):
        trainer(OrdinalMetrics()).fit(tiny_model(), loader(8), [loader(8), loader(8)])


@pytest.mark.parametrize(("returned", "got"), [(None, "NoneType"), ({"loss": torch.ones(())}, "one without")])
def test_steps_that_return_something_else_are_refused(returned, got, tiny_model, loader, trainer):
    model = tiny_model()
    model.test_step = lambda batch, batch_idx: returned
    with pytest.raises(
        TypeError, match=rf"OrdinalMetrics: expected the steps to return .*StepOutput, got {got}"
    ):
        trainer(OrdinalMetrics()).test(model, loader(8), verbose=False)


def test_checkpoints_can_monitor_its_values(tmp_path, tiny_model, loader, trainer):
    best = ModelCheckpoint(tmp_path / "checkpoints", monitor="val/kl/qwk", mode="max", filename="best")
    values = Values()
    runner = trainer(OrdinalMetrics(), values, best, enable_checkpointing=True, max_epochs=4)
    runner.fit(tiny_model(), loader(40, shuffle=True), loader(30))
    assert best.best_model_score.item() == max(logged["val/kl/qwk"] for logged in values.validations)


def test_training_is_bit_equal_with_and_without_callbacks(tmp_path, tiny_model, loader, trainer):
    def train(*callbacks):
        model = tiny_model()
        runner = trainer(*callbacks, max_epochs=2, num_sanity_val_steps=1)
        runner.fit(model, loader(40, shuffle=True), loader(20))
        modes = [module.training for module in model.modules()]
        state = runner.optimizers[0].state_dict()["state"]
        return (
            model.state_dict(),
            state,
            torch.get_rng_state(),
            np.random.get_state(),  # noqa: NPY002
            random.getstate(),
            modes,
        )

    plain = train()
    watched = train(OrdinalMetrics(figure_every_n_epochs=1), PredictionWriter(), LearningCurves())

    for one, other in zip(plain[0].values(), watched[0].values(), strict=True):
        assert torch.equal(one, other)
    for index in plain[1]:
        assert all(
            torch.equal(plain[1][index][key], watched[1][index][key]) for key in ("exp_avg", "exp_avg_sq")
        )
    assert torch.equal(plain[2], watched[2])
    np.testing.assert_equal(plain[3], watched[3])
    assert plain[4:] == watched[4:]


def test_gradients_waiting_to_be_accumulated_are_left_alone(tiny_model, loader, trainer):
    """A validation in the middle of an accumulation window must not change the step that follows."""

    def train(*callbacks):
        model = tiny_model()
        settings = {"val_check_interval": 1, "accumulate_grad_batches": 4, "max_epochs": 1}
        trainer(*callbacks, **settings).fit(model, loader(40), loader(8))
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    quick = {"figure_every_n_epochs": 0}
    assert torch.equal(train(), train(OrdinalMetrics(**quick), PredictionWriter(), LearningCurves(**quick)))


def _table(name, target, classes, labels=(0, 1), p=None):
    p = torch.full((len(labels), classes), 1 / classes) if p is None else p
    severity = p @ torch.arange(float(classes))
    subject = [str(row) for row in range(len(labels))]
    return HeadTable(name, target, subject, p, severity, torch.tensor(labels))


def test_a_users_own_metric_is_logged_and_written(tmp_path, tiny_model, loader, trainer):
    def bias(weights, rows):
        return weighted_mean(weights, rows.predicted - rows.labels)

    own = [Metric("bias", bias, headline=True), Metric("bias", bias, kind="binary")]
    gap = Metric("larger_gap", lambda weights, rows: np.ones(len(weights)), kind="hierarchy")
    model, data = tiny_model(), loader(30)
    (logged,) = trainer(OrdinalMetrics(metrics=[*own, gap])).test(model, data, verbose=False)
    table = trainer(PredictionWriter()).test(model, data, verbose=False)
    assert table
    predictions = pd.read_csv(tmp_path / "predictions.csv")
    for head in ("kl", "oa"):
        expected = (predictions[f"pred_{head}"] - predictions[f"label_{head}"]).mean()
        assert logged[f"test/{head}/bias"] == pytest.approx(expected)
    assert logged["test/hierarchy/larger_gap"] == 1
    intervals = json.loads((tmp_path / "metrics.json").read_text())["intervals"]
    assert intervals["test/kl/bias"][0] < logged["test/kl/bias"] < intervals["test/kl/bias"][1]
    assert "test/oa/bias" not in intervals
    with pytest.raises(ValueError, match="there is a metric 'qwk' for ordinal heads already"):
        OrdinalMetrics(metrics=[Metric("qwk", bias)])


def test_a_head_with_the_name_of_the_hierarchys_group_is_refused():
    """Its metrics would be lost among, or overwrite, those of the agreement."""
    metrics = registered()
    levels = [_table("oa", "oa", 2), _table("kl", "kl", 5)]
    assert set(hierarchy_groups([*levels, _table("moaks", "moaks", 4)], metrics)) == {"hierarchy"}
    with pytest.raises(ValueError, match="head 'hierarchy': the agreement of the levels is logged under"):
        hierarchy_groups([*levels, _table("hierarchy", "moaks", 4)], metrics)
    assert hierarchy_groups([levels[1], _table("hierarchy", "moaks", 4)], metrics) == {}


def test_bad_labels_and_probabilities_name_the_head():
    with pytest.raises(ValueError, match=r"head 'moaks': labels: expected whole numbers 0 to 3 .* got 2.5"):
        _table("moaks", "moaks", 4, labels=(0.0, 2.5)).metrics(registered())
    with pytest.raises(ValueError, match="head 'moaks': probabilities: expected values from 0 to 1"):
        _table("moaks", "moaks", 4, p=torch.ones(2, 4)).metrics(registered())


def test_severe_auc_has_an_interval_for_five_classes_of_any_name():
    generator = torch.Generator().manual_seed(0)
    labels = tuple((torch.arange(60) % 5).tolist())
    p = torch.softmax(torch.randn(60, 5, generator=generator) + 2 * torch.eye(5)[list(labels)], dim=1)
    found = _table("grade", "moaks", 5, labels, p)
    low, high = found.intervals(registered())["severe_auc"]
    assert low < found.metrics(registered())["severe_auc"] < high
    assert "oa_auc" not in found.metrics(registered())
    assert "severe_auc" not in _table("grade", "moaks", 4).metrics(registered())


def test_a_diverged_head_has_no_intervals():
    p = torch.full((2, 5), torch.nan)
    assert _table("kl", "kl", 5, p=p).intervals(registered()) == {}
    assert _table("kl", "kl", 5, labels=(-1, -1)).intervals(registered()) == {}
