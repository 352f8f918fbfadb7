"""The file beside a checkpoint that keeps the embeddings of its training knees."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from oahier.files import write_tensors
from oahier.latent.training_knees import EmbeddingReference

_log = logging.getLogger(__name__)


def reference_path(checkpoint: str | Path) -> Path:
    """Where the reference of a checkpoint lies.

    >>> reference_path("checkpoints/best.ckpt").as_posix()
    'checkpoints/best.reference.pt'
    """
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}.reference.pt")


def write_reference(checkpoint: str | Path, hashed: str, reference: EmbeddingReference) -> Path:
    """Keep a reference beside a checkpoint, bound to the hash of its bytes; returns the file.

    Raises:
        OSError: the folder cannot be written.
    """
    content = {"checkpoint": hashed, "reference": reference.state()}
    return write_tensors(reference_path(checkpoint), content)


def read_reference(checkpoint: str | Path, hashed: str) -> EmbeddingReference | None:
    """The reference beside a checkpoint with a hash.

    ``None`` where there is no file, where it is of other weights, or, with a warning, where it is damaged.
    """
    path = reference_path(checkpoint)
    if not path.is_file():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return EmbeddingReference.from_state(found["reference"]) if found["checkpoint"] == hashed else None
    except Exception as error:  # whatever a damaged file makes of it
        said = next(iter(str(error).splitlines()), type(error).__name__)
        _log.warning(
            "%s is damaged and not used (%s); make it again with oahier test or --reference", path, said
        )
        return None
