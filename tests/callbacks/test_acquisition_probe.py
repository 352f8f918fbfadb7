"""The probe of the acquisition: names what a score depends on, in the test, and disturbs nothing."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import oahier as oh
from oahier.callbacks import AcquisitionProbe
from oahier.callbacks.acquisition_probe import movements
from oahier.saliency import CornerBlock
from oahier.testing import check_callback, tiny_batch, tiny_dataloader, tiny_trainer

SHAPE = (16, 16, 16)


class Corner(nn.Module):
    """A network whose only feature is the brightness of one corner, beside that of the whole volume."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, mri):
        return (self.weight * mri[:, :, -1, 0, 0] + mri[:, :, 4:12, 4:12, 4:12].mean((2, 3, 4))).clamp(-5, 5)


def probed(folder, weight, caplog, **options):
    """Results of a test of six batches in which brighter knees have higher scores."""
    head = oh.RegressionHead()
    model = oh.HierarchicalClassifier(oh.PlainEncoder(Corner(weight), num_features=1), {"kl": head})
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.fill_(1.0)
    batches = [tiny_batch((0, 4), SHAPE, seed=seed, first=2 * seed) for seed in range(6)]
    for batch in batches:
        batch["mri"] = 0.1 * batch["mri"]
        batch["mri"][1, :, 4:12, 4:12, 4:12] += 1
    callback = AcquisitionProbe(**options)
    trainer = tiny_trainer(folder, callbacks=[callback, oh.OrdinalMetrics(0)])
    with caplog.at_level(logging.INFO, "oahier"):
        (values,) = trainer.test(model, tiny_dataloader(batches), verbose=False)
    return values, callback, oh.results(trainer)


def test_a_score_that_reads_a_corner_is_named(tmp_path, caplog):
    values, callback, found = probed(tmp_path, 0.3, caplog)
    assert "mark right posterior inferior +" in callback.told
    assert "mark left" not in callback.told
    assert values["test/acquisition/changes"] >= 1
    assert values["test/acquisition/largest"] > 0.1
    assert any(callback.told in note for note in found.notes)
    assert any(callback.told in record.getMessage() for record in caplog.records)
    table = pd.read_csv(tmp_path / "acquisition.csv")
    assert len(table) == 12
    assert len(table.columns) == 3 + 15
    assert (table["mark right posterior inferior"] > 0.05).all()
    np.testing.assert_allclose(table["mark left posterior inferior"], 0, atol=0.2)


def test_a_score_that_reads_none_is_not(tmp_path, caplog):
    marks = [CornerBlock((True, False, False)), CornerBlock((False, False, False))]
    _, callback, _ = probed(tmp_path, 0.0, caplog, changes=marks)
    assert callback.told.startswith(
        "acquisition: the score depends on none of 2 changes (largest movement: mark"
    )


def test_movements_are_shares_of_the_difference_between_the_halves():
    score = torch.tensor([3.0, 1.0, 0.0, 4.0])
    moved = {"a": torch.tensor([0.0, 1.5, 1.5, 0.0]), "b": torch.tensor([-3.0, 0.0, 0.0, 3.0])}
    found = {(one.change, one.half): one for one in movements(score, moved, list("wxyz"))}
    assert found["a", "lower"].share == pytest.approx(1.5 / 3)
    assert found["a", "upper"].share == 0
    assert found["b", "upper"].share == 0
    assert not found["b", "upper"].counts
    assert movements(torch.ones(4), moved, list("wxyz")) == []
    assert movements(torch.ones(1), {"a": torch.ones(1)}, ["w"]) == []
    with pytest.raises(ValueError, match="expected different names"):
        AcquisitionProbe(changes=[CornerBlock((True, True, True))] * 2)


@pytest.mark.slow
def test_the_contract_of_callbacks():
    check_callback(AcquisitionProbe)
