"""Passes over a split in evaluation mode, beside the loop that runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities.seed import isolate_rng

from oahier.gathering import EpochRecords, EpochTable, as_step_output, common_columns, gathering_of
from oahier.modes import evaluating
from oahier.progress import steps
from oahier.types import Split


def evaluated_table(trainer: L.Trainer, pl_module: L.LightningModule, split: Split) -> EpochTable | None:
    """The knees of a split through ``predict_step``, in evaluation mode and without augmentation.

    Weights, modes and random states stay as they are. Made once in an evaluation epoch, for all who ask.
    Every process must call this; each embeds its share.

    Args:
        trainer: its data module is asked for ``evaluation_dataloader(split)``, as
            :class:`~oahier.KneeMRIDataModule` has it; without one, the loader that the trainer had for the
            split in training (:func:`remember_loaders`) is used, with whatever it does to volumes.
        pl_module: the model.
        split: ``"train"`` or ``"val"``.

    Returns:
        ``None`` where there is no loader for the split, or no knee in it.
    """
    kept = gathering_of(trainer).passes
    if split not in kept:
        loader, shared = _loader(trainer, split)
        if loader is None:
            return None
        turns = trainer.world_size if shared else 1
        records = EpochRecords()
        with _undisturbed(trainer, pl_module, loader), torch.inference_mode():
            for index, batch in enumerate(steps(loader, sized_len(loader) or 0)):
                if index % turns == trainer.global_rank % turns:
                    _add(records, trainer, pl_module, batch, index)
        kept[split] = records.gather(trainer)
    return kept[split] if len(kept[split]) else None


def remember_loaders(trainer: L.Trainer) -> None:
    """Keep the loaders of a training that ends: Lightning forgets them when an evaluation begins."""
    loaders = {"train": trainer.train_dataloader, "val": trainer.val_dataloaders}
    gathering_of(trainer).loaders = {split: loader for split, loader in loaders.items() if loader is not None}


@contextmanager
def weights_of(checkpoint: Path, pl_module: L.LightningModule) -> Iterator[None]:
    """The model with the weights of a checkpoint; afterwards its own are back, bit by bit."""
    content = torch.load(checkpoint, map_location=pl_module.device, weights_only=True)
    own = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}
    pl_module.load_state_dict(content["state_dict"])
    try:
        yield
    finally:
        pl_module.load_state_dict(own)


def _loader(trainer: L.Trainer, split: Split) -> tuple[Iterable[Any] | None, bool]:
    """Batches of a split, and whether every process has all of them."""
    make = getattr(getattr(trainer, "datamodule", None), "evaluation_dataloader", None)
    if make is not None:
        return make(split), True
    return gathering_of(trainer).loaders.get(split), False


def _add(
    records: EpochRecords, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, index: int
) -> None:
    precision = trainer.precision_plugin
    batch = pl_module._on_before_batch_transfer(precision.convert_input(batch), dataloader_idx=0)
    batch = trainer.strategy.batch_to_device(batch, device=pl_module.device)
    with precision.predict_step_context():
        outputs = pl_module.predict_step(batch, index)
    output = as_step_output(outputs, f"{type(pl_module).__name__}.predict_step")
    records.add(knee=output["knee"], subject=output["subject"], **common_columns(output, batch))


@contextmanager
def _undisturbed(trainer: L.Trainer, pl_module: L.LightningModule, loader: Any) -> Iterator[None]:
    """Evaluation mode inside; modes, random states and the running stage as before afterwards."""
    stage, generator = trainer.state.stage, getattr(loader, "generator", None)
    order = None if generator is None else generator.get_state()
    trainer.state.stage = RunningStage.PREDICTING
    try:
        with evaluating(pl_module), isolate_rng():
            yield
    finally:
        trainer.state.stage = stage
        if generator is not None:
            generator.set_state(order)
