"""The model of change: antisymmetric, trained by Lightning, started from a classifier."""

import functools

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import oahier as oh
from oahier.callbacks import OrdinalMetrics, PredictionWriter
from oahier.heads import ChangeHead
from oahier.model import ChangeModel
from oahier.statistics import read_predictions
from oahier.testing import TinyEncoder

SILENT = {
    "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
    "enable_checkpointing": False,
}  # fmt: skip


def pairs(count, seed=0, start=0):
    """Pairs of noise in which the second visit is brighter, as bright or darker."""
    generator = torch.Generator().manual_seed(seed)
    mri = 0.3 * torch.randn(count, 2, 8, 8, 8, generator=generator)
    change = torch.arange(count) % 3
    mri[:, 1] += 2.0 * (change - 1).float()[:, None, None, None]
    names = [f"{start + row:03d}" for row in range(count)]
    return {
        "mri": mri, "targets": {"change": change}, "knee": names, "subject": names,
        "affine": torch.eye(4, dtype=torch.float64).repeat(count, 1, 1),
    }  # fmt: skip


def loader(*batches):
    return DataLoader(list(batches), batch_size=None)


@pytest.mark.parametrize("encoder", [TinyEncoder, lambda: oh.ResNet3D(depth=10, width=8, norm="batch")])
@pytest.mark.parametrize("classes", [3, 9])
def test_swapping_the_visits_reverses_the_scores(encoder, classes):
    torch.manual_seed(0)
    model = ChangeModel(encoder(), {"change": ChangeHead(classes)}).eval()
    mri = torch.randn(5, 2, 16, 16, 16)
    with torch.no_grad():
        there, back = model(mri)["change"], model(mri.flip(1))["change"]
        same = model(mri[:, :1].expand(-1, 2, -1, -1, -1))["change"]
        p, reverse = (model.heads["change"].probabilities(item) for item in (there, back))
    torch.testing.assert_close(there, -back, rtol=0, atol=1e-6)
    torch.testing.assert_close(p, reverse.flip(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-6)
    assert there.abs().min() > 1e-4


def test_it_learns_is_saved_and_writes_a_row_a_pair(tmp_path):
    torch.manual_seed(0)
    model = ChangeModel(TinyEncoder(), optimizer=functools.partial(torch.optim.Adam, lr=0.02))
    callbacks = [OrdinalMetrics(), PredictionWriter()]
    trainer = L.Trainer(max_epochs=12, default_root_dir=tmp_path, callbacks=callbacks, **SILENT)
    trainer.fit(model, loader(*(pairs(12, seed) for seed in range(4))), loader(pairs(24, 90)))
    (tested,) = trainer.test(model, loader(pairs(30, 99)), verbose=False)
    assert tested["test/change/qwk"] > 0.8
    found = read_predictions(next(tmp_path.rglob("predictions.csv")))
    assert len(found) == 30
    assert found.labels["change"].tolist() == [row % 3 for row in range(30)]
    assert found.heads["change"].classes == 3
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    batch = pairs(4, 5)
    for cls in (ChangeModel, oh.HierarchicalClassifier):
        again = cls.load_from_checkpoint(tmp_path / "model.ckpt")
        assert type(again) is ChangeModel
        with torch.no_grad():
            expected = model.eval().predict_step(batch, 0)
            restored = again.eval().predict_step(batch, 0)
        assert torch.equal(restored["probabilities"]["change"], expected["probabilities"]["change"])
        assert restored["features"] == ()


def test_it_starts_from_the_encoder_of_a_classifier(tmp_path):
    torch.manual_seed(0)
    classifier = oh.HierarchicalClassifier(TinyEncoder(), {"kl": oh.SoftmaxHead()})
    trainer = L.Trainer(default_root_dir=tmp_path, max_epochs=0, **SILENT)
    trainer.strategy.connect(classifier)
    trainer.save_checkpoint(tmp_path / "kl.ckpt")
    for start in (classifier, tmp_path / "kl.ckpt"):
        model = ChangeModel.from_classifier(start, {"change": ChangeHead(9)}, probes=["change"])
        for name, value in classifier.encoder.state_dict().items():
            assert torch.equal(model.encoder.state_dict()[name], value)
        assert model.probes == {"change"}
        assert model.heads["change"].num_classes == 9
    first = next(model.encoder.parameters())
    with torch.no_grad():
        first.add_(1)
    assert not torch.equal(first, next(classifier.encoder.parameters())), "a copy"


def test_what_is_no_pair_or_no_change_is_refused():
    model = ChangeModel(TinyEncoder())
    with pytest.raises(
        ValueError, match=r"expected pairs of visits \(batch, 2, i, j, k\), .* got shape \(1, 1, "
    ):
        model(torch.zeros(1, 1, 8, 8, 8))
    with pytest.raises(
        TypeError, match=r"heads\['kl'\]: expected an oahier.heads.ChangeHead, .* got SoftmaxHead"
    ):
        ChangeModel(TinyEncoder(), {"kl": oh.SoftmaxHead()})


def test_phantoms_of_two_visits_train_through_the_data_module(tmp_path):
    from oahier.data import KneeMRIDataModule, PairedVisits

    manifest = oh.make_phantoms(
        tmp_path / "p", 12, shape=(8, 12, 12), visits=2, rate=0.3, interval=24, progress=False
    )
    data = PairedVisits(KneeMRIDataModule(manifest, (8, 12, 12), cache=tmp_path / "c", batch_size=4))
    trainer = L.Trainer(max_epochs=2, default_root_dir=tmp_path, callbacks=[PredictionWriter()], **SILENT)
    model = ChangeModel(TinyEncoder())
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(tmp_path / "change.ckpt")
    trainer.test(model, datamodule=data, ckpt_path=tmp_path / "change.ckpt", verbose=False)
    other = PairedVisits(KneeMRIDataModule(manifest, (8, 16, 12), cache=tmp_path / "c", batch_size=4))
    with pytest.raises(ValueError, match="16"):  # voxels that the checkpoint was not trained on
        trainer.test(model, datamodule=other, ckpt_path=tmp_path / "change.ckpt", verbose=False)
    found = read_predictions(tmp_path / "predictions.csv")
    table = manifest.table
    tested = table[table["split"] == "test"].pivot(index="subject", columns="visit", values="kl")
    expected = np.sign(tested["V01"] - tested["V00"]) + 1
    assert (
        dict(zip(found.subject.tolist(), found.labels["change"].tolist(), strict=True)) == expected.to_dict()
    )


def test_figures_and_messages_name_the_change(caplog, tmp_path):
    """In words: not ``change 0``."""
    torch.manual_seed(0)
    model = ChangeModel(TinyEncoder())
    trainer = L.Trainer(callbacks=[OrdinalMetrics()], default_root_dir=tmp_path, **SILENT)
    one_kind = pairs(6)
    one_kind["targets"]["change"] = torch.zeros(6, dtype=torch.int64)
    with caplog.at_level("WARNING", "oahier"):
        trainer.validate(model, loader(one_kind), verbose=False)
    (message,) = [record.getMessage() for record in caplog.records if "undefined" in record.getMessage()]
    assert message.endswith("6 labelled knees: better 6, same 0, worse 0")
