"""A UMAP figure of the embeddings of an evaluation epoch."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.utilities.seed import isolate_rng
from typing_extensions import override

from oahier.callbacks.axis_figure import embedding_figure
from oahier.callbacks.files import write_figure, write_rows
from oahier.callbacks.keys import Stage, metric_key, stage_directory
from oahier.callbacks.loggers import log_picture
from oahier.callbacks.step_recorder import StepRecorder
from oahier.gathering import EpochTable
from oahier.hierarchy import FINE
from oahier.latent import umap_embedding
from oahier.types import MISSING

_FEWEST = 4


class EmbeddingFigure(StepRecorder):
    """Draws the held-out knees in two UMAP coordinates, coloured by grade: to look at, not to measure.

    Writes ``pictures/{name}.png`` and ``{name}.csv`` (``knee, subject, x, y`` and the grade) into the folder
    of the stage, and shows the figure in the loggers. The first use in a process takes half a minute, to
    import and compile UMAP; later ones take seconds for a thousand knees. Fewer than four knees are not
    drawn.

    Args:
        neighbours: size of the neighbourhood, see :func:`oahier.latent.umap_embedding`.
        min_distance: least distance of points.
        seed: fixes the layout.
        name: of the files.
        figure_every_n_epochs: during training, draw in every n-th epoch and at the end; by default neither.
            Test and prediction figures are always drawn.
    """

    def __init__(
        self,
        *,
        neighbours: int = 15,
        min_distance: float = 0.1,
        seed: int = 0,
        name: str = "embedding",
        figure_every_n_epochs: int = 0,
    ) -> None:
        super().__init__(name=name, figure_every_n_epochs=figure_every_n_epochs)
        self.neighbours, self.min_distance, self.seed = neighbours, min_distance, seed

    @override
    def finish(
        self, trainer: L.Trainer, pl_module: L.LightningModule, stage: Stage, table: EpochTable
    ) -> None:
        if trainer.is_global_zero and len(table) >= _FEWEST:
            self.draw(trainer, lambda: self._draw(trainer, stage, table))

    def _draw(self, trainer: L.Trainer, stage: Stage, table: EpochTable) -> None:
        embedding = table["embedding"].double()
        spread = embedding.std(dim=0)
        standard = (embedding - embedding.mean(dim=0)) / spread.where(spread > 0, 1.0)
        with isolate_rng():
            points = umap_embedding(
                standard, neighbours=self.neighbours, min_distance=self.min_distance, seed=self.seed
            )
        grades = table.labels(FINE)
        folder = stage_directory(trainer, stage)
        known = [None if grade == MISSING else grade for grade in grades.tolist()]
        rows = zip(table.knee, table.subject, *points.T.tolist(), known, strict=True)
        write_rows(folder / f"{self.name}.csv", ["knee", "subject", "x", "y", FINE], rows)
        figure = embedding_figure(points.numpy(), grades.numpy(), f"UMAP of the embedding, {stage}")
        path = write_figure(folder / "pictures" / f"{self.name}.png", figure)
        log_picture(trainer, metric_key(stage, self.name, "umap"), path)
