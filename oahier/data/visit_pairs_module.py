"""The data module of pairs of visits that a configuration can describe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oahier.data.datamodule import KneeMRIDataModule
from oahier.data.manifest.manifest import Manifest
from oahier.data.visit_pairs import PairedVisits
from oahier.hierarchy import FINE


class VisitPairsDataModule(PairedVisits):
    """:class:`PairedVisits` of the scans of a manifest, by arguments that a configuration can hold.

    Args:
        manifest: as of :class:`~oahier.KneeMRIDataModule`, with a column of months.
        shape: as there.
        column: whose change is the label, larger for worse; a level or any other target column.
        steps: most steps of change: 1 for better, same, worse; 4 for differences of KL grades from -4 to 4.
        tolerance: a difference up to this is none.
        months: column of the months of each visit.
        target: name of the label, which the head has too.
        batch_size: pairs a step of each process.
        scans: further arguments of :class:`~oahier.KneeMRIDataModule`.

    Raises:
        ManifestError: no column of months, no knee with two visits, or an unknown column.
        ValueError: an argument out of range.

    >>> import oahier as oh, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> knees = oh.make_phantoms(folder, 8, shape=(8, 12, 12), visits=2, interval=24, progress=False)
    >>> pairs = VisitPairsDataModule(knees, (8, 12, 12), batch_size=3)
    >>> pairs.batch_size, pairs.data.batch_size, pairs.volume_shape
    (3, 6, (8, 12, 12))
    """

    def __init__(
        self,
        manifest: str | Path | Manifest,
        shape: tuple[int, int, int],
        *,
        column: str = FINE,
        steps: int = 1,
        tolerance: int | float = 0,
        months: str = "month",
        target: str = "change",
        batch_size: int = 2,
        **scans: Any,
    ) -> None:
        super().__init__(
            KneeMRIDataModule(manifest, shape, batch_size=2 * batch_size, **scans),
            column=column, steps=steps, tolerance=tolerance, months=months, target=target,
            batch_size=batch_size,
        )  # fmt: skip
