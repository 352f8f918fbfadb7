"""Embeddings of the training knees in evaluation mode, made once and kept beside the checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from oahier.data.arguments import require_sides
from oahier.data.manifest.manifest import Manifest, read_manifest
from oahier.hierarchy import COARSE, FINE
from oahier.latent import AxisDirection
from oahier.latent.reference_file import write_reference
from oahier.latent.training_knees import EmbeddingReference
from oahier.prediction.inputs import Scan, manifest_scan
from oahier.prediction.loading import UnusableScan, load_scans
from oahier.prediction.one_knee import as_batch
from oahier.prediction.trained import TrainedModel, identity_of
from oahier.progress import progress as show
from oahier.types import MISSING

_log = logging.getLogger("oahier.prediction")


@dataclass(frozen=True, eq=False)
class _Embedded:
    embedding: Tensor
    kl: Tensor
    oa: Tensor


def compute_reference(
    trained: TrainedModel,
    manifest: str | Path | Manifest,
    *,
    kind: str | AxisDirection | None = None,
    workers: int = 0,
    progress: bool = False,
) -> TrainedModel:
    """The model with a reference of its training and validation knees in evaluation mode.

    The embeddings that training kept are of augmented volumes in training mode. Those made here are what
    prediction makes, so that distances to them are sharper. They are written beside the checkpoint, where
    :func:`~oahier.prediction.trained.load_trained` finds them, and are not made again while they are there.

    Args:
        trained: the model.
        manifest: holds the knees that the checkpoint names as its training and validation knees.
        kind: of the severity axis; that of the reference in the checkpoint, or ``"pca"``, if not given.
        workers: processes that read and preprocess ahead.
        progress: show a bar.

    Raises:
        ValueError: training knees that the manifest lacks, that cannot be read, or whose side it does not
            say although left knees are mirrored.
        OSError: the folder of the checkpoint cannot be written.
    """
    if trained.reference is not None and trained.reference.origin == "evaluation" and kind is None:
        return trained
    kind = kind or ("pca" if trained.reference is None else trained.reference.axis.kind)
    table = manifest if isinstance(manifest, Manifest) else read_manifest(manifest)
    train, held_out = (
        _embedded(trained, _scans(trained, table, split), workers, progress) for split in ("train", "val")
    )
    return _kept_beside(trained, train, held_out, kind)


def _kept_beside(
    trained: TrainedModel, train: _Embedded, held_out: _Embedded, kind: str | AxisDirection
) -> TrainedModel:
    reference = EmbeddingReference.fit(
        train.embedding, train.kl, train.oa, held_out.embedding, kind=kind, origin="evaluation"
    )
    beside = write_reference(trained.path, trained.checkpoint_hash, reference)
    identity = identity_of(trained.checkpoint_hash, beside)
    return replace(trained, reference=reference, identity=identity, without_reference="")


def _scans(trained: TrainedModel, manifest: Manifest, split: str) -> list[Scan]:
    """The knees of a split at training, as the manifest has them."""
    wanted = trained.splits.get(split, [])
    rows = {str(knee): position for position, knee in enumerate(manifest.table["knee"])}
    missing = [knee for knee in wanted if knee not in rows]
    if not wanted or missing:
        what = f"no knee of its split {split!r}" if not wanted else f"{missing[0]!r} ({len(missing)} missing)"
        raise ValueError(
            f"reference: {manifest.name}: expected the manifest of the training, but the checkpoint "
            f"{trained.path.name} names {what}; give the manifest that the model was trained with"
        )
    if trained.preprocessing.mirror_left:
        require_sides(replace(manifest, table=manifest.table.iloc[[rows[knee] for knee in wanted]]))
    scans: list[Scan] = []
    for knee in wanted:
        scans += [replace(scan, cartilage=None) for scan in manifest_scan(manifest, rows[knee])]
    return scans


def _embedded(trained: TrainedModel, scans: Sequence[Scan], workers: int, progress: bool) -> _Embedded:
    rows, labels = [], []
    device = next(trained.model.parameters()).device
    for scan, loaded in zip(scans, _loaded(trained, scans, workers, progress), strict=True):
        if isinstance(loaded, UnusableScan):
            _log.warning("reference: knee %s is left out: %s", scan.knee, loaded)
            continue
        with torch.inference_mode():
            embedding = trained.model.encoder(as_batch(loaded, device)["mri"]).flatten(1)
        rows.append(embedding.float().cpu().clone())
        labels.append([scan.labels.get(name, MISSING) for name in (FINE, COARSE)])
    if not rows:
        raise ValueError("reference: not one of the knees of a split could be read; see the warnings above")
    with torch.inference_mode(False):
        columns = torch.tensor(labels)
        return _Embedded(torch.cat(rows).clone(), columns[:, 0], columns[:, 1])


def _loaded(trained: TrainedModel, scans: Sequence[Scan], workers: int, progress: bool) -> Iterator[Any]:
    loaded = load_scans(scans, trained.preprocessing, workers)
    return show(loaded, len(scans), "Training knees", show=progress)
