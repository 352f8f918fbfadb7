"""The UMAP figure: its files, and that it disturbs nothing."""

import sys

import pandas as pd
import pytest
import torch

from oahier.callbacks import EmbeddingFigure
from oahier.testing.batches import tiny_batches, tiny_dataloader
from oahier.testing.model import tiny_model, tiny_trainer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of umap and numba
def test_a_test_draws_the_knees_by_grade(tmp_path):
    batches = tiny_batches(6, 3, seed=1)
    trainer = tiny_trainer(tmp_path, callbacks=[EmbeddingFigure(neighbours=5)])
    state = torch.get_rng_state()
    model = tiny_model()
    torch.set_rng_state(state)
    trainer.test(model, tiny_dataloader(batches), verbose=False)
    table = pd.read_csv(tmp_path / "embedding.csv")
    assert list(table.columns) == ["knee", "subject", "x", "y", "kl"]
    assert table["kl"].tolist() == torch.cat([batch["targets"]["kl"] for batch in batches]).tolist()
    assert table[["x", "y"]].nunique().tolist() == [18, 18]
    assert (tmp_path / "pictures" / "embedding.png").stat().st_size > 10_000


def test_training_and_few_knees_draw_nothing_and_import_no_umap(tmp_path):
    known = "umap" in sys.modules
    trainer = tiny_trainer(tmp_path, callbacks=[EmbeddingFigure()])
    batches = tiny_dataloader(tiny_batches(1, 3))
    trainer.fit(tiny_model(), batches, tiny_dataloader(tiny_batches(3)))
    trainer.test(tiny_model(), batches, verbose=False)
    assert not list(tmp_path.rglob("*.png"))
    assert ("umap" in sys.modules) == known
