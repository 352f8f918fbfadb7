"""Learning curves record what was logged, and survive a resumed run."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.figure import Figure

from oahier.callbacks import LearningCurves, OrdinalMetrics, learning_curves
from oahier.callbacks.figures import curves_picture
from oahier.callbacks.learning_curves import curve_panels


def _table(folder):
    return pd.read_csv(folder / "learning_curves.csv")


def test_one_row_an_epoch_with_training_and_validation_values(tmp_path, tiny_model, loader, trainer):
    runner = trainer(LearningCurves(), OrdinalMetrics(0), max_epochs=3, num_sanity_val_steps=1)
    runner.fit(tiny_model(), loader(40, shuffle=True), loader(20))
    table = _table(tmp_path)
    assert table[["epoch", "step"]].to_numpy().tolist() == [[1, 5], [2, 10], [3, 15]]
    assert table["train/loss"].is_monotonic_decreasing
    last = {name: runner.callback_metrics[name].item() for name in ("train/loss", "val/loss", "val/kl/qwk")}
    assert table.iloc[-1][list(last)].to_dict() == pytest.approx(last, rel=1e-6)
    assert (tmp_path / "pictures" / "learning_curves.png").read_bytes().startswith(b"\x89PNG")


def test_mid_epoch_validations_have_rows_of_their_own(tmp_path, tiny_model, loader, trainer):
    runner = trainer(
        LearningCurves(figure_every_n_epochs=0), OrdinalMetrics(0), val_check_interval=0.5, max_epochs=2
    )
    runner.fit(tiny_model(), loader(64), loader(10))
    table = _table(tmp_path)
    assert table[["epoch", "step"]].to_numpy().tolist() == [[1, 4], [1, 8], [2, 12], [2, 16]]
    assert table["val/kl/rps"].notna().all()
    assert table["train/loss"].notna().tolist() == [False, True, False, True]


def test_the_picture_is_drawn_on_schedule_and_once_at_the_end(tiny_model, loader, trainer, monkeypatch):
    drawn = []
    monkeypatch.setattr(learning_curves, "curves_picture", lambda panels, across: Figure())
    monkeypatch.setattr(
        learning_curves, "log_picture", lambda trainer, *_: drawn.append(trainer.current_epoch)
    )
    for epochs in (3, 4):
        trainer(LearningCurves(figure_every_n_epochs=2), max_epochs=epochs).fit(
            tiny_model(), loader(8), loader(8)
        )
    assert drawn == [0, 2, 0, 2, 4]


def test_without_validation(tmp_path, tiny_model, loader, trainer):
    trainer(LearningCurves(), max_epochs=2, limit_val_batches=0).fit(tiny_model(), loader(16), loader(8))
    assert list(_table(tmp_path)) == ["epoch", "step", "train/loss"]


def test_a_resumed_run_continues_its_curves(tmp_path, tiny_model, loader, trainer):
    def run(epochs, folder, checkpoint=None):
        curves = LearningCurves(figure_every_n_epochs=0)
        runner = trainer(curves, max_epochs=epochs, default_root_dir=folder)
        runner.fit(tiny_model(), loader(40), loader(20), ckpt_path=checkpoint, weights_only=True)
        runner.save_checkpoint(folder / "last.ckpt")
        return _table(folder)

    broken = run(2, tmp_path / "broken")
    resumed = run(4, tmp_path / "resumed", tmp_path / "broken" / "last.ckpt")

    assert resumed["epoch"].tolist() == [1, 2, 3, 4]
    assert resumed["step"].tolist() == [5, 10, 15, 20]
    assert resumed.notna().all(axis=None)
    pd.testing.assert_frame_equal(resumed[:2], broken)


def test_a_second_fit_starts_anew(tmp_path, tiny_model, loader, trainer):
    curves = LearningCurves(figure_every_n_epochs=0)
    for epochs in (3, 1):
        trainer(curves, max_epochs=epochs).fit(tiny_model(), loader(16), loader(8))
    assert _table(tmp_path)["epoch"].tolist() == [1]


def test_panels_hold_the_losses_and_the_chosen_measures():
    first = {"train/loss": 3.0, "train/kl/loss": 2.0, "val/kl/qwk": 0.1, "val/kl/mae": 9.0}
    second = {"train/loss": 1.0, "val/loss": 2.0, "val/kl/qwk": 0.3, "val/oa/auc": 0.9}
    rows = [{"epoch": 1.0, "step": 4.0} | first, {"epoch": 2.0, "step": 8.0} | second]
    panels, across = curve_panels(rows, ["auc", "qwk"])
    assert across == "epoch"
    assert panels == {
        "loss": {
            "train loss": [(1, 3.0), (2, 1.0)],
            "train kl loss": [(1, 2.0)],
            "val loss": [(2, 2.0)],
        },
        "kl": {"val qwk": [(1, 0.1), (2, 0.3)]},
        "oa": {"val auc": [(2, 0.9)]},
    }
    figure = curves_picture(panels)
    assert [axes.get_title() for axes in figure.axes] == ["loss", "KL", "OA"]
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["val QWK"]


def test_several_rows_an_epoch_run_over_steps():
    assert curve_panels([{"epoch": 1.0, "step": 2.0}, {"epoch": 1.0, "step": 4.0}], [])[1] == "step"


def test_checkpoint_keys_differ_by_what_is_drawn():
    assert LearningCurves(["qwk"]).state_key != LearningCurves(["auc"]).state_key
    with pytest.raises(ValueError, match="figure_every_n_epochs must be 0 or more, got -2"):
        LearningCurves(figure_every_n_epochs=-2)
