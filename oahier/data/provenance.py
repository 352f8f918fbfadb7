"""Record of the training data in a checkpoint, and its comparison with other data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from oahier.data.manifest.columns import SPLITS
from oahier.data.manifest.manifest import Manifest
from oahier.data.preprocessing import Preprocessing
from oahier.data.summary import summary_of


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


def contradictions(
    record: Mapping[str, Any], manifest: Manifest, preprocessing: Preprocessing
) -> Iterator[str]:
    """Why results of the checkpoint with a record would be wrong on other data, in words.

    Other voxels, and test subjects that the weights were trained on or that the best epoch was chosen by.
    """
    trained = record["preprocessing"]
    current = preprocessing.as_dict()
    for name in {**current, **trained}:
        there, here = trained.get(name), current.get(name)
        if not _same(there, here):
            yield f"the checkpoint was trained with {name}={there}, the data module has {here}"
    tested = set(manifest.subset("test").table["subject"])
    seen = tested & {*record["subjects"]["train"], *record["subjects"]["val"]}
    if seen:
        yield (
            f"{len(seen)} of {len(tested)} test subjects were in the training or validation split of the "
            f"checkpoint, for example {min(seen)!r}: the test results are too good; use the split (seed) of "
            "the training"
        )


def _same(there: Any, here: Any) -> bool:
    """Equal, lengths up to the digits in which a header is stored."""
    numbers = [
        isinstance(value, list) and all(isinstance(one, float) for one in value) for value in (there, here)
    ]
    if all(numbers) and len(there) == len(here):
        return bool(np.allclose(there, here, rtol=1e-3))
    return bool(there == here)
