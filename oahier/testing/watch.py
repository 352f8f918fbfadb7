"""States of a run after every batch, for comparing two runs bit by bit."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

Look = dict[str, str]


class Watch(L.Callback):
    """Takes fingerprints of model, random states, batch and outputs; stands last among the callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[tuple[str, Look]] = []

    def look(self, moment: str, module: nn.Module, batch: Any = None, outputs: Any = None) -> None:
        """Record everything now, under a name for the moment."""
        named = dict(module.named_parameters())
        look = {
            "weights or buffers": fingerprint(dict(module.state_dict())),
            "gradients": fingerprint({name: item.grad for name, item in named.items()}),
            "requires_grad": fingerprint({name: item.requires_grad for name, item in named.items()}),
            "training modes": fingerprint({name: item.training for name, item in module.named_modules()}),
            "hooks on modules": fingerprint(
                {name: [len(getattr(item, hook)) for hook in _HOOKS] for name, item in module.named_modules()}
            ),
            "torch's random state": fingerprint(torch.get_rng_state()),
            "numpy's random state": fingerprint(repr(np.random.get_state(legacy=False))),  # noqa: NPY002
            "python's random state": fingerprint(repr(random.getstate())),
            "gradient mode": str(torch.is_grad_enabled()),
            "batch": fingerprint(batch),
            "step output": fingerprint(outputs),
        }
        self.looks.append((moment, look))

    def difference(self, other: Watch) -> str | None:
        """The first moment at which something differs from another run, in words."""
        for (moment, look), (expected_moment, expected) in zip(self.looks, other.looks, strict=False):
            if moment != expected_moment:
                return f"expected {expected_moment}, got {moment}"
            changed = [what for what, value in look.items() if value != expected[what]]
            if changed:
                return f"at {moment}, {' and '.join(changed)} differ from a run without it"
        if len(self.looks) != len(other.looks):
            return f"{len(self.looks)} batches and epoch ends ran, expected {len(other.looks)}"
        return None

    @override
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.look(f"training batch {batch_idx} of epoch {trainer.current_epoch}", pl_module, batch, outputs)

    @override
    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        stage = trainer.state.stage.value if trainer.state.stage else ""
        moment = f"{stage} batch {batch_idx} at step {trainer.global_step}"
        self.look(moment, pl_module, batch, outputs)

    on_test_batch_end = on_validation_batch_end

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.look(f"the end of training epoch {trainer.current_epoch}", pl_module)

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.look(f"the end of validation at step {trainer.global_step}", pl_module)

    @override
    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.look("the end of testing", pl_module)


def fingerprint(value: Any) -> str:
    """A hash of nested tensors and plain values; NaN is equal to NaN."""
    digest = hashlib.sha256()
    _feed(digest.update, value)
    return digest.hexdigest()


def _feed(update: Callable[[bytes], None], value: Any) -> None:
    """Nested tensors as bytes with their type and shape."""
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        update(f"{value.dtype} {tuple(value.shape)}".encode())
        update(flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        for key, item in sorted(value.items(), key=lambda named: str(named[0])):
            update(f"{key}:".encode())
            _feed(update, item)
    elif isinstance(value, (list, tuple)):
        update(f"{len(value)} items".encode())
        for item in value:
            _feed(update, item)
    else:
        update(repr(value).encode())
