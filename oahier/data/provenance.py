"""Record of the training data in a checkpoint, and its comparison with other data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from warnings import warn

import numpy as np

from oahier.data.manifest.columns import SPLITS
from oahier.data.manifest.manifest import Manifest
from oahier.data.preprocessing import Preprocessing
from oahier.data.summary import summary_of
from oahier.types import Split


def record_of(manifest: Manifest, preprocessing: Preprocessing) -> dict[str, Any]:
    """Plain values for a checkpoint.

    Returns:
        ``preprocessing``; ``splits``, the knees of each split; ``subjects``, the people of each; and the
        ``summary`` of :func:`~oahier.data.summary.summary_of`.
    """
    tables = {split: manifest.subset(split).table for split in SPLITS}
    return {
        "preprocessing": preprocessing.as_dict(),
        "splits": {split: table["knee"].tolist() for split, table in tables.items()},
        "subjects": {split: table["subject"].unique().tolist() for split, table in tables.items()},
        "summary": summary_of(manifest),
    }


def record_in(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a checkpoint keeps of :func:`record_of`, under the name of whichever data module; else empty.

    >>> sorted(record_in({"Mine": {"preprocessing": {}, "splits": {}}, "epoch": 3}))
    ['preprocessing', 'splits']
    """
    kept = [entry for entry in checkpoint.values() if isinstance(entry, Mapping)]
    return next((entry for entry in kept if {"preprocessing", "splits"} <= set(entry)), {})


def contradictions(
    record: Mapping[str, Any], manifest: Manifest, preprocessing: Preprocessing, split: Split = "test"
) -> Iterator[str]:
    """Why results of the checkpoint with a record would be wrong on other data, in words.

    Other voxels; test subjects that the weights were trained on or that the best epoch was chosen by;
    validation subjects that the weights were trained on.

    Args:
        record: of :func:`record_of`.
        manifest: the knees of now.
        preprocessing: the settings of now.
        split: what is evaluated, ``"test"`` or ``"val"``.
    """
    trained = record["preprocessing"]
    current = preprocessing.as_dict()
    for name in {**current, **trained}:
        there, here = trained.get(name), current.get(name)
        if not _same(there, here):
            yield f"the checkpoint was trained with {name}={there}, the data module has {here}"
    before = ("train", "val") if split == "test" else ("train",)
    evaluated = set(manifest.subset(split).table["subject"])
    seen = evaluated & {subject for name in before for subject in record["subjects"][name]}
    if seen:
        splits = " or ".join({"train": "training", "val": "validation"}[name] for name in before)
        yield (
            f"{len(seen)} of {len(evaluated)} {'test' if split == 'test' else 'validation'} subjects were in "
            f"the {splits} split of the checkpoint, for example {min(seen)!r}: the results are too good; use "
            "the split (seed) of the training, or other ids if these are other people"
        )


def compare(
    record: Mapping[str, Any], manifest: Manifest, preprocessing: Preprocessing, doing: str | None
) -> None:
    """Warn of data that a checkpoint would give wrong results of; refuse to evaluate it on them.

    Args:
        record: of :func:`record_of`.
        manifest: the knees of now.
        preprocessing: the settings of now.
        doing: ``"validate"`` or ``"test"``; anything else is training, or loading by hand.

    Raises:
        ValueError: names what the checkpoint was trained with, what came, and what to do.
    """
    split: Split = "val" if doing == "validate" else "test"
    found = list(contradictions(record, manifest, preprocessing, split))
    if found and doing in ("validate", "test"):
        shown = ", ".join(f"{name}={value}" for name, value in record["preprocessing"].items() if value)
        raise ValueError(f"{'; '.join(found)}. Nothing was evaluated; the training had {shown}")
    for problem in found:
        warn(problem, stacklevel=3)


def _same(there: Any, here: Any) -> bool:
    """Equal, lengths up to the digits in which a header is stored."""
    numbers = [
        isinstance(value, list) and all(isinstance(one, float) for one in value) for value in (there, here)
    ]
    if all(numbers) and len(there) == len(here):
        return bool(np.allclose(there, here, rtol=1e-3))
    return bool(there == here)
