"""A checkpoint as prediction needs it: model, preprocessing, and the knees that it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from oahier.clinical import Decisions
from oahier.data.preprocessing import Preprocessing
from oahier.files import feed_file
from oahier.latent.reference_file import read_reference, reference_path
from oahier.latent.training_knees import EmbeddingReference
from oahier.metrics import Decoding
from oahier.model import ChangeModel, HierarchicalClassifier
from oahier.model.checkpoints import CheckpointError, checkpoint_hash
from oahier.specs import build
from oahier.specs.errors import SpecError


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model in evaluation mode with what its checkpoint says about its training."""

    model: HierarchicalClassifier
    preprocessing: Preprocessing
    reference: EmbeddingReference | None
    path: Path
    checkpoint_hash: str
    """SHA-256 of the file, see :func:`oahier.model.checkpoints.checkpoint_hash`."""
    identity: str
    """What predictions depend on: the checkpoint, and the reference beside it if it has one."""
    splits: Mapping[str, list[str]]
    """Knees of each split at training."""
    summary: Mapping[str, Any]
    """Counts of the data of the training, see :func:`oahier.data.summary.summary_of`."""
    decisions: Decisions | None = None
    """Calibration and thresholds that :class:`oahier.callbacks.DecisionCalibration` left in it."""
    tested_with_decisions: bool = True
    """Whether tests of the model apply them."""
    decoding: Decoding | None = None
    """Rule of the grade that :class:`oahier.callbacks.GradeDecoding` left in it."""
    without_reference: str = ""
    """Why there is no reference."""


def load_trained(checkpoint: str | Path, device: str | torch.device = "cpu") -> TrainedModel:
    """Load a checkpoint that Lightning wrote while oahier trained; nothing in it is run.

    The reference comes from the file beside the checkpoint
    (:func:`~oahier.latent.reference_file.reference_path`) if that was made for these weights. Checkpoints of
    version 0.1.0 held one of the training steps, which is read where there is no file.

    Raises:
        CheckpointError: no such file, pickled code inside, or a checkpoint that does not say how its volumes
            were preprocessed.
    """
    path = Path(checkpoint)
    with torch.random.fork_rng(devices=[]):  # a model is made with random weights first
        model = HierarchicalClassifier.load_from_checkpoint(path, map_location=device)
    if isinstance(model, ChangeModel):
        raise CheckpointError(
            f"checkpoint {path}: its model compares two visits of a knee and cannot grade one scan; "
            "`oahier test` writes its predictions of pairs; in Python it takes volumes (batch, 2, i, j, k)"
        )
    content = torch.load(path, map_location="cpu", weights_only=True)
    data = content.get("KneeMRIDataModule")
    if not isinstance(data, Mapping) or "preprocessing" not in data:
        raise CheckpointError(
            f"checkpoint {path}: it does not say how volumes were preprocessed, because it was not trained "
            "with oahier.KneeMRIDataModule; preprocess as at training and call the model in Python "
            "(HierarchicalClassifier.load_from_checkpoint)"
        )
    reference, why = _kept_reference(content.get("callbacks", {}))
    hashed = identity = checkpoint_hash(path)
    made = read_reference(path, hashed)
    if made is not None:
        reference, why, identity = made, "", identity_of(hashed, reference_path(path))
    return TrainedModel(
        model=model.eval().requires_grad_(False).to(device),
        preprocessing=_preprocessing(path, data["preprocessing"]),
        reference=reference,
        path=path,
        checkpoint_hash=hashed,
        identity=identity,
        splits={name: list(knees) for name, knees in data.get("splits", {}).items()},
        summary=data.get("summary", {}),
        decisions=_kept_decisions(content.get("callbacks", {}), path),
        tested_with_decisions=_kept(content.get("callbacks", {}), "DecisionCalibration", "apply")
        is not False,
        decoding=_kept_decoding(content.get("callbacks", {}), path),
        without_reference=why,
    )


def _preprocessing(path: Path, settings: Mapping[str, Any]) -> Preprocessing:
    try:
        return Preprocessing.from_dict(settings)
    except ValueError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error


def identity_of(hashed: str, reference: Path) -> str:
    """The identity of a checkpoint with a hash and a reference beside it.

    Raises:
        OSError: the reference cannot be read.
    """
    return f"{hashed} {file_hash([reference])}"


def _kept_reference(callbacks: Mapping[str, Any]) -> tuple[EmbeddingReference | None, str]:
    kept = _kept(callbacks, "SeverityAxis", "reference")
    if kept is None:
        return None, "the checkpoint was trained without SeverityAxis (or its file beside it is gone)"
    return EmbeddingReference.from_state(kept), ""


def _kept_decisions(callbacks: Mapping[str, Any], path: Path) -> Decisions | None:
    kept = _kept(callbacks, "DecisionCalibration", "decisions")
    return None if kept is None else Decisions.from_dict(kept, f"checkpoint {path}")


def _kept_decoding(callbacks: Mapping[str, Any], path: Path) -> Decoding | None:
    kept = _kept(callbacks, "GradeDecoding", "decoding")
    try:
        return None if kept is None else build(kept, Decoding)
    except SpecError as error:
        raise CheckpointError(f"checkpoint {path}: rule of the grade: {error}") from error


def _kept(callbacks: Mapping[str, Any], kind: str, key: str) -> Any:
    """What the first callback of a kind left in a checkpoint; ``None`` where none did."""
    states = (state for name, state in callbacks.items() if str(name).startswith(kind))
    return next((state[key] for state in states if key in state), None)


def file_hash(paths: list[Path] | tuple[Path, ...]) -> str:
    """Hash of the content of files in order, 40 hexadecimal digits.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=20)
    for path in paths:
        feed_file(digest, path)
        digest.update(b"\0end of file\0")
    return digest.hexdigest()
