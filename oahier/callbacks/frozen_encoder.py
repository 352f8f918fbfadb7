"""An encoder that does not learn, for the first epochs or for all."""

from __future__ import annotations

import lightning as L
from torch import nn
from torch.optim import Optimizer
from typing_extensions import override


class FrozenEncoder(L.Callback):
    """Keeps the encoder as it is while the heads learn: no gradient, and evaluation mode.

    Evaluation mode means that batch normalisation uses and keeps its stored mean and variance, and nothing is
    dropped. The optimizer has all parameters from the start, so schedules, layer-wise rates and a resumed
    training are as without the callback; parameters without gradient get no step and no weight decay.

    Args:
        epochs: number of epochs; ``None`` for all.

    Raises:
        ValueError: fewer than one epoch.
    """

    def __init__(self, epochs: int | None = None) -> None:
        super().__init__()
        if epochs is not None and epochs < 1:
            raise ValueError(f"FrozenEncoder: epochs: expected 1 or more, or null for all, got {epochs}")
        self.epochs = epochs
        self._parameters: list[nn.Parameter] = []
        self._modes: dict[nn.Module, bool] = {}

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._parameters = [one for one in _encoder(pl_module).parameters() if one.requires_grad]
        if not self._late(trainer):
            self._require_gradients(False)

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        frozen = self._frozen(trainer)
        if not self._late(trainer):
            self._require_gradients(not frozen)
        if frozen:
            encoder = _encoder(pl_module)
            self._modes = self._modes or {module: module.training for module in encoder.modules()}
            encoder.eval()
        else:
            self._restore_modes()

    @override
    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        if self._late(trainer) and self._frozen(trainer):
            for parameter in self._parameters:
                parameter.grad = None

    @override
    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            self._require_gradients(True)
            self._restore_modes()
            self._parameters = []

    def _late(self, trainer: L.Trainer) -> bool:
        """True where gradients are dropped after they were computed.

        Distributed training averages the gradients of those parameters that require one when it begins.
        """
        return trainer.world_size > 1 and self.epochs is not None

    def _frozen(self, trainer: L.Trainer) -> bool:
        return self.epochs is None or trainer.current_epoch < self.epochs

    def _require_gradients(self, required: bool) -> None:
        for parameter in self._parameters:
            parameter.requires_grad_(required)

    def _restore_modes(self) -> None:
        for module, training in self._modes.items():
            module.training = training
        self._modes = {}


def _encoder(model: L.LightningModule) -> nn.Module:
    encoder = model.encoder
    if not isinstance(encoder, nn.Module):
        raise TypeError(f"FrozenEncoder: expected a model with an encoder, got {encoder!r}")
    return encoder
