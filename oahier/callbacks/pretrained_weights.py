"""Pretrained weights in the encoder when a training starts, with a report in the run's folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import lightning as L
from typing_extensions import override

from oahier.callbacks.files import write_json
from oahier.callbacks.keys import run_directory
from oahier.encoders import Encoder, load_pretrained
from oahier.encoders.pretrained import Replacements
from oahier.files import feed_file


class PretrainedWeights(L.Callback):
    """Loads a local file of weights into the encoder before the first step of a training.

    A training that is resumed has its weights from its checkpoint, and so has a test: neither needs the file.
    Writes ``pretrained.json``: the file's name and SHA-256, the share of the encoder that came from it, and
    the names that matched, are missing, or were not used.

    Args:
        path: see :func:`~oahier.encoders.load_pretrained`, as for the other arguments.
        prefix: cut from the names in the file; found when not given.
        replace: pairs of a regular expression and its replacement.
        minimum: share of the encoder's numbers that the file must have.

    Raises:
        PretrainedError: before training, where the file is damaged or does not fit.
    """

    def __init__(
        self,
        path: str | Path,
        prefix: str | None = None,
        replace: Replacements = (),
        minimum: float = 0.9,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.options: dict[str, Any] = {"prefix": prefix, "replace": replace, "minimum": minimum}

    @override
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.ckpt_path:  # known from here on, not in setup
            return
        encoder = pl_module.encoder
        if not isinstance(encoder, Encoder):
            raise TypeError(f"PretrainedWeights: expected a model with an oahier Encoder, got {encoder!r}")
        report = load_pretrained(encoder, self.path, **self.options)
        if trainer.is_global_zero:
            digest = hashlib.sha256()
            feed_file(digest, self.path)
            content = {**report.as_dict(), "path": self.path.name, "sha256": digest.hexdigest()}
            write_json(run_directory(trainer) / "pretrained.json", content)
