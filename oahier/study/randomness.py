"""Random states in checkpoints, so that a resumed run draws what the whole one would have drawn."""

from __future__ import annotations

import random
from typing import Any

import lightning as L
import numpy as np
import torch
from typing_extensions import override


class ResumableRandomness(L.Callback):
    """Keeps the states of torch, numpy and Python in checkpoints and restores them on resuming.

    Together with ``reload_dataloaders_every_n_epochs=1``, which seeds each epoch's order and augmentation by
    its number, a run that was interrupted and resumed ends with the same weights as one that was not.
    """

    def __init__(self) -> None:
        super().__init__()
        self._restored: dict[str, Any] | None = None

    @override
    def state_dict(self) -> dict[str, Any]:
        kind, keys, *numpy_rest = np.random.get_state(legacy=True)  # noqa: NPY002
        version, words, gauss = random.getstate()
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *numpy_rest],
            "python": [version, list(words), gauss],
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        state, self._restored = self._restored, None
        if state is None:
            return
        torch.set_rng_state(state["torch"].cpu())
        if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([item.cpu() for item in state["cuda"]])
        kind, keys, *rest = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words), gauss))
