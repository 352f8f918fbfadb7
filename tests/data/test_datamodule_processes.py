"""Training batches of every process of a distributed run, dealt out by Lightning itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
from lightning.pytorch.trainer.states import RunningStage

from oahier.data import KneeMRIDataModule, Manifest, read_manifest


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [2, 3])
def test_no_process_gets_a_batch_of_one(
    make: Callable[..., KneeMRIDataModule], knees: Path, processes: int, batch_size: int
) -> None:
    manifest = read_manifest(knees)
    for train in range(4, 15):
        split = ["train"] * train + ["val"] * 2 + ["test"] * (18 - train)
        table = manifest.table.assign(split=split, subject=manifest.table["knee"])
        data = make(Manifest.from_table(table, manifest.root), batch_size=batch_size)
        strategy = "ddp" if processes > 1 else "auto"
        data.trainer = L.Trainer(
            accelerator="cpu", devices=processes, strategy=strategy, logger=False, barebones=True
        )
        loader = data.trainer._data_connector._prepare_dataloader(
            data.train_dataloader(), shuffle=True, mode=RunningStage.TRAINING
        )
        share = -(-train // processes)
        assert len(loader.sampler) == share, "Lightning repeats knees until every process has as many"
        sizes = [len(drawn) for drawn in loader.batch_sampler]
        left_out = 1 if share % batch_size == 1 else 0
        assert sum(sizes) == share - left_out, (train, sizes)
        assert min(sizes) > 1, (train, sizes)


def test_one_knee_is_not_left_out(make: Callable[..., KneeMRIDataModule], knees: Path) -> None:
    """A process with nothing to train on would be worse than one with a batch of one."""
    manifest = read_manifest(knees)
    table = manifest.table.assign(split=["train"] * 2 + ["val"] * 8 + ["test"] * 10)
    data = make(Manifest.from_table(table, manifest.root), batch_size=2)
    data.trainer = L.Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False, barebones=True)
    loader = data.trainer._data_connector._prepare_dataloader(
        data.train_dataloader(), shuffle=True, mode=RunningStage.TRAINING
    )
    assert [len(drawn) for drawn in loader.batch_sampler] == [1]
