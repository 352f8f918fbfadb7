"""Checks of components, against each other and against the data, before the first step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from oahier.encoders import Encoder, PlainEncoder
from oahier.heads import Head
from oahier.modes import evaluating

if TYPE_CHECKING:
    from oahier.model import HierarchicalClassifier


def check_embedding(embedding: Tensor, encoder: Encoder) -> None:
    """Refuse an embedding that is not ``(batch, num_features)``."""
    if embedding.ndim != 2 or embedding.shape[1] != encoder.num_features:
        raise ValueError(
            f"encoder {name_of(encoder)}: expected an embedding of shape (batch, {encoder.num_features}), "
            f"as its num_features says, got {tuple(embedding.shape)}; correct num_features or embed()"
        )


def check_probes(heads: Mapping[str, Head], probes: Collection[str]) -> None:
    """Refuse a head that reads a probe without being one: its loss would not reach the encoder."""
    for name, head in heads.items():
        if head.reads in probes and name not in probes:
            raise ValueError(
                f"head {name!r} reads {head.reads!r}, which is a probe, so its loss does not reach the "
                f"encoder; name both in the model's probes, {sorted({*probes, name})}, or neither"
            )


def check_reading(name: str, head: Head, other: Head | None) -> None:
    """Refuse a head without parameters that takes logits of another kind for those of a softmax."""
    if other is None or head.reads_as != "logits" or any(True for _ in head.parameters()):
        return
    if other.num_logits != other.num_classes:
        raise ValueError(
            f"head {name!r}: {type(head).__name__} has no parameters to learn what the {other.num_logits} "
            f"logits of {type(other).__name__} ({other.num_classes} classes) mean; set its class attribute "
            "reads_as = 'log_probabilities'"
        )


def check_prepared(model: HierarchicalClassifier) -> None:
    """Refuse a buffer that :meth:`oahier.Head.prepare` was to fill and that still holds NaN."""
    for part in (model.heads, model.terms, model.weighting):
        for name, buffer in part.named_buffers():
            if buffer.is_floating_point() and bool(buffer.isnan().any()):
                owner, _, attribute = name.rpartition(".")
                raise ValueError(
                    f"{type(part.get_submodule(owner)).__name__}.{attribute} ({name}) has no value: it is "
                    "derived from the class counts of the training split. Train with a data module that has "
                    "class_counts, as oahier.KneeMRIDataModule does, or from a checkpoint that holds it"
                )


def name_of(encoder: Encoder) -> str:
    """The class that a user wrote: that of the wrapped module for a plain one."""
    return type(encoder.module if isinstance(encoder, PlainEncoder) else encoder).__name__


def check_against_data(model: HierarchicalClassifier, data: Any) -> None:
    """Check target columns and the encoder's output at the data module's volume size.

    Only where the data module says what it delivers (``target_names``, ``volume_shape``), as
    :class:`~oahier.KneeMRIDataModule` does.

    Raises:
        ValueError: a head without its target column; an encoder whose output is empty, or not what it
            declares, at this volume size.
    """
    names = getattr(data, "target_names", None)
    if names is not None:
        for head in model.heads:
            for target in model.targets_of(head):
                if target not in names:
                    raise ValueError(
                        f"head {head!r} learns from target {target!r}, but the data module "
                        f"delivers {sorted(names)}; add the column to its targets or set the head's target"
                    )
    shape = getattr(data, "volume_shape", None)
    if shape is not None:
        check_encoder_output(model, tuple(shape))


@torch.no_grad()
def check_encoder_output(model: HierarchicalClassifier, shape: tuple[int, ...]) -> None:
    """Run the encoder once on an empty volume; modes and random numbers stay as they were."""
    source, parameter = name_of(model.encoder), next(model.parameters())
    try:
        with evaluating(model), torch.random.fork_rng(devices=[]):
            features = model.encoder.features(
                torch.zeros((1, 1, *shape), dtype=parameter.dtype, device=parameter.device)
            )
            grids = [tuple(item.shape[2:]) for item in features]
            if any(0 in grid for grid in grids):
                raise ValueError(f"its feature maps have grids {grids}, the last one is empty")
            embedding = model.encoder.embed(features)
    except Exception as error:  # a module of anybody's: whatever it raises, it does not work
        raise ValueError(
            f"encoder {source} does not work on volumes of {'x'.join(map(str, shape))} voxels: {error}. "
            "Use larger volumes (data.shape) or another encoder"
        ) from error
    check_embedding(embedding, model.encoder)
