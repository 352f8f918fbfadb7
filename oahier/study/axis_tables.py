"""Tables of the latent space: axes fitted on training knees, measured on test knees, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from oahier.files import write_atomically
from oahier.hierarchy import COARSE, FINE
from oahier.latent import AXIS_KINDS, axis_measures, fit_severity_axis
from oahier.metrics import weighted_auc, weighted_spearman
from oahier.statistics import Comparison, paired_statistic
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
    """Axes of all finished cells, of every kind.

    Args:
        study: the study.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.kinds = tuple(AXIS_KINDS)
        self._axes: dict[tuple[str, str], CellAxis] = {}
        for cell in study.cells:
            if cell.state == "finished":
                training, test = Embedded(cell, "train"), Embedded(cell, ".")
                for kind in self.kinds:
                    self._axes[cell.name, kind] = CellAxis(training, test, kind)

    def rows(self) -> list[dict[str, Any]]:
        """All measures of every cell and kind."""
        return [
            {"cell": cell.name, **cell.factors, "kind": kind, **self._axes[cell.name, kind].measures}
            for cell in self.study.cells
            if cell.state == "finished"
            for kind in self.kinds
        ]

    def write_projections(self) -> None:
        """Write ``axis.csv`` into every cell: where its test knees lie on each axis."""
        import pandas as pd

        for cell in self.study.cells:
            if cell.state == "finished":
                axes = {kind: self._axes[cell.name, kind] for kind in self.kinds}
                first = axes[self.kinds[0]]
                columns = {"knee": first.knee, "subject": first.subject, "kl": first.kl, "oa": first.oa}
                table = pd.DataFrame(columns | {kind: axis.projection for kind, axis in axes.items()})
                write_atomically(cell.folder / "axis.csv", table.to_csv(index=False, float_format="%.9g"))

    def comparisons(self, resamples: int, seed: int) -> Iterator[tuple[Pair, Comparison]]:
        """Paired differences of the measures that resampling test knees can judge."""
        for pair in pairs(self.study):
            for kind in self.kinds:
                sides = [[self._axes[cell.name, kind] for cell in cells] for cells in (pair.a, pair.b)]
                first = sides[0][0]
                if any(not np.array_equal(axis.known, first.known) for side in sides for axis in side):
                    continue  # an axis that is not defined, such as a regression without KL labels
                a, b = ([axis.statistics() for axis in side] for side in sides)
                subjects = [name for name, known in zip(first.subject, first.known, strict=True) if known]
                for metric in a[0]:
                    row = paired_statistic(
                        [one[metric] for one in a],
                        [one[metric] for one in b],
                        subjects,
                        task=kind,
                        metric=metric,
                        resamples=resamples,
                        seed=seed,
                    )
                    yield pair, row
