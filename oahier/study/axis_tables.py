"""Tables of the latent space: axes fitted on training knees, measured on test knees, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from oahier.data.manifest.manifest import Manifest
from oahier.files import frame_csv, write_atomically
from oahier.hierarchy import COARSE, FINE
from oahier.latent import (
    AXIS_KINDS,
    axis_chance,
    axis_measures,
    fit_severity_axis,
    split_half_reliability,
)
from oahier.metrics import weighted_auc, weighted_spearman
from oahier.statistics import Comparison
from oahier.statistics.jackknife import LeftOut, leave_out
from oahier.statistics.paired import paired_left_out
from oahier.study.axis_columns import NO_COLUMNS, AxisColumns, orders, repeatability
from oahier.study.cell_files import read_arrays, read_predictions
from oahier.study.cells import Cell
from oahier.study.pairs import Pair, pairs
from oahier.study.results import Study
from oahier.types import MISSING

Statistic = Callable[[npt.NDArray[Any]], npt.NDArray[np.float64]]


class CellAxis:
    """An axis of one cell, fitted on its training knees, and the test knees along it."""

    def __init__(self, training: Embedded, test: Embedded, kind: str) -> None:
        self.fit = fit_severity_axis(training.embedding, training.kl, training.oa, kind=kind)
        self.measures = axis_measures(self.fit, test.embedding, test.kl, test.oa)
        self.measures |= axis_chance(self.fit, test.embedding, test.kl, test.oa)
        self.measures["split_half"] = split_half_reliability(
            training.embedding, training.kl, training.oa, training.subject, test.embedding, kind=kind
        )
        self.projection = self.fit.project(test.embedding).numpy().astype(np.float64)
        self.standardised = self.fit.standardise(test.embedding)
        self.kl, self.oa = test.kl.numpy(), test.oa.numpy()
        self.knee, self.subject = test.knee, test.subject

    def statistics(self) -> dict[str, Statistic]:
        """Measures of the test knees as functions of weights of the knees that have both labels."""
        known = self.known
        place, kl, oa = self.projection[known], self.kl[known], self.oa[known]
        direction = np.sign(self.fit.probe_coefficient)
        return {
            "spearman_kl": lambda weights: np.abs(weighted_spearman(weights, place, kl)),
            "spearman_oa": lambda weights: np.abs(weighted_spearman(weights, place, oa)),
            "probe_auc": partial(weighted_auc, scores=direction * place, positive=oa == 1),
        }

    @cached_property
    def left_out(self) -> dict[str, LeftOut]:
        """Every such measure with and without each subject.

        They do not depend on what the cell is compared with, and a cell is compared with many.
        """
        subjects = np.asarray(self.subject, dtype=str)[self.known]
        return {name: leave_out([measure], subjects) for name, measure in self.statistics().items()}

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Test knees with a projection and both labels."""
        known: npt.NDArray[np.bool_] = np.isfinite(self.projection)
        known &= (self.kl != MISSING) & (self.oa != MISSING)
        return known


class Embedded:
    """Embeddings of one split of a cell with their labels, in the order of its predictions."""

    def __init__(self, cell: Cell, part: str) -> None:
        folder = cell.folder / part
        table = read_predictions(folder)
        arrays = read_arrays(folder / "embeddings.npz", ("knee", "embedding"))
        if table is None or arrays is None:
            raise ValueError(f"{folder}: expected predictions.csv and embeddings.npz; run the cell again")
        if arrays[0].tolist() != table.knee.tolist():
            raise ValueError(f"{folder}: embeddings.npz and predictions.csv hold different knees")
        self.knee, self.subject = table.knee.tolist(), table.subject.tolist()
        self.embedding = torch.from_numpy(arrays[1])
        self.kl, self.oa = (torch.from_numpy(table.labels[level]) for level in (FINE, COARSE))


class AxisTables:
    """Axes of all finished cells but those that compare visits, of every kind.

    Args:
        study: the study.
        columns: of a manifest, to compare axes with.
    """

    def __init__(self, study: Study, columns: AxisColumns = NO_COLUMNS) -> None:
        self.study, self.columns = study, columns
        self.kinds = tuple(AXIS_KINDS)
        self.test: dict[str, Embedded] = {}
        self._axes: dict[tuple[str, str], CellAxis] = {}
        self._manifests: dict[str, Manifest | None] = {}
        self.cells = [cell for cell in study.cells if cell.state == "finished" and not cell.compares_visits]
        for cell in self.cells:
            training, self.test[cell.name] = Embedded(cell, "train"), Embedded(cell, ".")
            self._manifests[cell.name] = columns.of(cell)
            for kind in self.kinds:
                self._axes[cell.name, kind] = CellAxis(training, self.test[cell.name], kind)

    def rows(self) -> list[dict[str, Any]]:
        """All measures of every cell and kind."""
        return [
            {**key, **axis.measures, **repeatability(
                self.columns, self._manifests[cell], axis.knee, axis.subject, axis.projection
            )}
            for key, cell, axis in self._each()
        ]  # fmt: skip

    def orders(self) -> list[dict[str, Any]]:
        """Order inside grades against every covariate, of every cell and kind."""
        return [
            {**key, **row}
            for key, cell, axis in self._each()
            for row in orders(
                self.columns, self._manifests[cell], axis.knee, axis.subject, axis.kl, axis.projection
            )
        ]

    def along(self, cell: Cell, kind: str = "pca") -> dict[str, float]:
        """Coordinates of the test knees of a finished cell along one of its axes."""
        axis = self._axes[cell.name, kind]
        return dict(zip(axis.knee, axis.projection.tolist(), strict=True))

    def _each(self) -> Iterator[tuple[dict[str, str], str, CellAxis]]:
        for cell in self.cells:
            for kind in self.kinds:
                key = {"cell": cell.name, **cell.factors, "kind": kind}
                yield key, cell.name, self._axes[cell.name, kind]

    def write_projections(self) -> None:
        """Write ``axis.csv`` into every cell: where its test knees lie on each axis."""
        import pandas as pd

        for cell in self.cells:
            axes = {kind: self._axes[cell.name, kind] for kind in self.kinds}
            first = axes[self.kinds[0]]
            columns = {"knee": first.knee, "subject": first.subject, "kl": first.kl, "oa": first.oa}
            table = pd.DataFrame(columns | {kind: axis.projection for kind, axis in axes.items()})
            write_atomically(cell.folder / "axis.csv", frame_csv(table, digits=9))

    def comparisons(self) -> Iterator[tuple[Pair, Comparison]]:
        """Paired differences of the metrics that leaving out test knees can judge."""
        for pair in pairs(self.study):
            if any(cell.name not in self.test for cell in (*pair.a, *pair.b)):
                continue
            for kind in self.kinds:
                sides = [[self._axes[cell.name, kind] for cell in cells] for cells in (pair.a, pair.b)]
                first = sides[0][0]
                if any(not np.array_equal(axis.known, first.known) for side in sides for axis in side):
                    continue  # an axis that is not defined, such as a regression without KL labels
                a, b = ([axis.left_out for axis in side] for side in sides)
                for metric in a[0]:
                    yield pair, paired_left_out(
                        [one[metric] for one in a], [one[metric] for one in b], int(first.known.sum()),
                        task=kind, metric=metric, largest=1.0, paired=True,
                    )  # fmt: skip
