"""Stage, folder and names, asked from inside real runs."""

from __future__ import annotations

import lightning as L
import pytest

from oahier.callbacks.keys import metric_key, run_directory, stage_directory, stage_of


class Witness(L.Callback):
    def __init__(self):
        self.seen = {}

    def _see(self, trainer, *_):
        key = "sanity" if trainer.sanity_checking else trainer.state.fn.value
        self.seen.setdefault(key, []).append((stage_of(trainer), stage_directory(trainer)))

    on_train_batch_end = on_validation_epoch_end = on_test_epoch_end = on_predict_epoch_end = _see


def test_stage_and_folder_in_every_kind_of_run(tmp_path, tiny_model, loader, trainer):
    witness = Witness()
    runner = trainer(witness, max_epochs=1, num_sanity_val_steps=1)
    model = tiny_model()
    runner.fit(model, loader(8), loader(8))
    runner.validate(model, loader(8), verbose=False)
    runner.test(model, loader(8), verbose=False)
    runner.predict(model, loader(8))

    validation = ("val", tmp_path / "validation")
    assert witness.seen["sanity"] == [validation]
    assert witness.seen["fit"] == [("train", tmp_path / "train"), validation]
    assert witness.seen["validate"] == [validation]
    assert witness.seen["test"] == [("test", tmp_path)]
    assert witness.seen["predict"] == [("predict", tmp_path / "predict")]
    assert (tmp_path / "predict").is_dir()


def test_no_stage_outside_a_run(trainer):
    with pytest.raises(RuntimeError, match="runs nothing now"):
        stage_of(trainer())


def test_a_remote_folder_is_refused(trainer):
    runner = trainer()
    runner._default_root_dir = "s3://bucket/run"
    with pytest.raises(ValueError, match=r"default_root_dir='s3://bucket/run'\): expected a local folder"):
        run_directory(runner)


def test_key():
    assert metric_key("test", "kl", "qwk") == "test/kl/qwk"
