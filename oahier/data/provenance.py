"""What a checkpoint records of the data that it was trained with, and whether other data fits it."""

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
    for name, here in preprocessing.as_dict().items():
        there = trained[name]
        if not np.allclose(there, here, rtol=1e-3):
            yield f"the checkpoint was trained with {name}={there}, the data module has {here}"
    tested = set(manifest.subset("test").table["subject"])
    seen = tested & {*record["subjects"]["train"], *record["subjects"]["val"]}
    if seen:
        yield (
            f"{len(seen)} of {len(tested)} test subjects trained the checkpoint or chose it, for example "
            f"{min(seen)!r}: the test results are too good; use the split (seed) of the training"
        )
