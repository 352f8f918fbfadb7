"""Runs the callbacks on one or two processes: ``python two_processes.py FOLDER PROCESSES``."""

import importlib.util
import sys
from pathlib import Path

import lightning as L
import torch

from oahier.callbacks import LearningCurves, OrdinalMetrics, PredictionWriter
from oahier.gathering import EpochRecords


def _tiny():
    path = Path(__file__).with_name("conftest.py")
    spec = importlib.util.spec_from_file_location("tiny", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class UnequalRows(L.Callback):
    """The second process has no rows at all; gathering must not wait for them."""

    def on_test_end(self, trainer, pl_module):
        records = EpochRecords()
        if trainer.global_rank == 0:
            records.add(knee=["b", "a"], subject=["2", "1"], value=torch.tensor([2.0, 1.0]))
        table = records.gather(trainer)
        assert table.knee == ["a", "b"]
        assert table["value"].tolist() == [1.0, 2.0]


def main(folder: str, processes: int) -> None:
    torch.set_num_threads(1)
    tiny = _tiny()
    L.seed_everything(3, verbose=False)
    model = tiny.TinyModel()
    trainer = L.Trainer(
        default_root_dir=folder,
        callbacks=[
            OrdinalMetrics(0),
            PredictionWriter(),
            LearningCurves(figure_every_n_epochs=0),
            UnequalRows(),
        ],
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=1,
        limit_train_batches=0 if processes == 1 else 1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    if processes > 1:  # train as a user would; then measure the same weights as the single process
        trainer.fit(model, tiny.tiny_loader(32, shuffle=True), tiny.tiny_loader(13))
        assert (Path(folder) / "learning_curves.csv").is_file()
        model.load_state_dict(weights)
    trainer.validate(model, tiny.tiny_loader(13), verbose=False)
    trainer.test(model, tiny.tiny_loader(21, name="test"), verbose=False)
    assert trainer.callback_metrics["test/kl/knees"] == 21


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
