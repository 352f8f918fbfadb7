"""The base class of callbacks: a short one of a user's, names, and what is refused."""

from __future__ import annotations

import pytest
import torch

import oahier as oh
from oahier import gathering
from oahier.testing import check_callback


class Confidence(oh.StepRecorder):
    """The mean of the largest probability, and a column of its own."""

    def __init__(self, name="confidence"):
        super().__init__(name=name)
        self.seen = {}

    def collect(self, trainer, pl_module, output, batch):
        return {"norm": output["embedding"].norm(dim=1)}

    def finish(self, trainer, pl_module, stage, table):
        self.seen[stage] = table
        if "kl/probabilities" in table:
            confidence = table["kl/probabilities"].amax(dim=1).mean()
            self.log_values(pl_module, stage, {"mean": float(confidence)})


def test_callbacks_show_their_names():
    assert repr(Confidence()) == "Confidence('confidence')"
    assert repr(oh.OrdinalMetrics()) == "OrdinalMetrics()"


def test_a_short_callback_reads_the_table_of_the_epoch(trainer, tiny_model, loader, monkeypatch):
    gathered = []
    original = gathering._gather
    monkeypatch.setattr(gathering, "_gather", lambda *a: gathered.append(sorted(a[0])) or original(*a))
    mine, other = Confidence(), Confidence("other")
    run = trainer(mine, oh.OrdinalMetrics(0), oh.PredictionWriter(), other, max_epochs=1)
    run.fit(tiny_model(), loader(16), loader(13))
    assert gathered == [["", "confidence", "other"]]  # once for everyone
    table = mine.seen["val"]
    assert len(table) == 13
    torch.testing.assert_close(table["norm"], table["embedding"].norm(dim=1))
    expected = table["kl/probabilities"].amax(dim=1).mean().item()
    assert run.callback_metrics["val/confidence/mean"].item() == pytest.approx(expected)
    run.test(tiny_model(), loader(5), verbose=False)
    assert len(mine.seen["test"]) == 5
    run.predict(tiny_model(), loader(4), return_predictions=False)
    assert len(mine.seen["predict"]) == 4


def test_batches_without_columns_leave_their_knees_out(trainer, tiny_model, loader):
    class Some(Confidence):
        def collect(self, trainer, pl_module, output, batch):
            return {"first": torch.ones(len(output["knee"]))} if "knee000" in output["knee"] else {}

    some = Some()
    trainer(some).test(tiny_model("kl"), loader(13), verbose=False)
    assert some.seen["test"].knee == [f"knee{index:03d}" for index in range(5)]
    assert some.seen["test"]["kl/labels"].shape == (5,)


def test_contract():
    check_callback(Confidence)


def test_two_callbacks_of_one_name_are_refused(trainer, tiny_model, loader):
    twins = [oh.CartilageSaliency(name="cam"), oh.CartilageSaliency(method="hirescam", name="cam")]
    with pytest.raises(ValueError, match="CartilageSaliency and CartilageSaliency share the name 'cam'"):
        trainer(*twins).test(tiny_model(), loader(4), verbose=False)
    with pytest.raises(ValueError, match="OrdinalMetrics and OrdinalMetrics share the name"):
        trainer(oh.OrdinalMetrics(), oh.OrdinalMetrics()).fit(tiny_model(), loader(4), loader(4))
    with pytest.raises(ValueError, match="name 'kl' is that of a head"):
        trainer(Confidence("kl")).test(tiny_model(), loader(4), verbose=False)


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_several_dataloaders_are_refused_by_name(trainer, tiny_model, loader, stage):
    with pytest.raises(ValueError, match=r"Confidence: expected one (val|test) dataloader, got 2"):
        getattr(trainer(Confidence()), stage)(tiny_model(), [loader(4), loader(4)], verbose=False)


def test_several_dataloaders_are_refused_before_training(trainer, tiny_model, loader):
    run = trainer(Confidence(), num_sanity_val_steps=1)
    with pytest.raises(ValueError, match="Confidence: expected one val dataloader, got 2"):
        run.fit(tiny_model(), loader(4), [loader(4), loader(4)])
    assert run.global_step == 0
