"""The saliency callback: its numbers, its pictures, what it leaves alone."""

import copy
import logging
import math
import re

import jaxtyping
import lightning as L
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import oahier as oh
from oahier.callbacks import regions
from oahier.callbacks.saliency_columns import verdict
from oahier.callbacks.saliency_figure import (
    KneePicture,
    cut_planes,
    for_display,
    heat_colours,
    saliency_picture,
)
from oahier.saliency import (
    ActivationMap,
    class_activation_map,
    default_methods,
    iou_bound,
    random_weights,
    resample,
    saliency_overlap,
)
from oahier.saliency.tail import TailExplainer
from oahier.testing import check_callback
from oahier.testing.batches import tiny_batch, tiny_batches, tiny_dataloader
from oahier.testing.model import TinyEncoder, tiny_model, tiny_trainer
from oahier.types import CARTILAGE_LABELS


@pytest.fixture
def shapes_unchecked():
    """The shape checker draws from python's random state, which the contract watches."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def make_model(heads=("oa", "kl"), **arguments):
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = tiny_model(heads, **arguments)
        for parameter in model.heads.parameters():  # scores that depend visibly on the map
            nn.init.normal_(parameter, std=0.5)
    return model


def evaluate(model, batches, folder, stage="test", **options):
    callback, trainer_options = (
        options.pop("callback", oh.CartilageSaliency(method="gradcam", figures=0)),
        options,
    )
    trainer = tiny_trainer(folder, callbacks=[callback], **trainer_options)
    getattr(trainer, stage)(model, tiny_dataloader(batches), verbose=False)
    subfolder = {"test": ".", "validate": "validation"}[stage]
    return pd.read_csv(folder / subfolder / "saliency.csv"), trainer.callback_metrics


def cartilage_of(batch):
    return torch.isin(batch["cartilage"][:, 0], torch.tensor(CARTILAGE_LABELS, dtype=torch.uint8))


@pytest.mark.parametrize("options", [{}, {"stage": 0, "score": "true", "randomised": True, "figures": 0}])
def test_contract(shapes_unchecked, options):
    check_callback(lambda: oh.CartilageSaliency(**options))


def test_two_of_them_under_their_own_names(tmp_path):
    batches = tiny_batches(2, 3, shape=(16, 20, 24))
    wanted = [batches[0]["knee"][1], batches[1]["knee"][0]]
    callbacks = [
        oh.CartilageSaliency("kl", figures=0, name="saliency/kl", save_maps=wanted),
        oh.CartilageSaliency("oa", figures=1, name="saliency/oa"),
    ]
    trainer = tiny_trainer(tmp_path, callbacks=callbacks)
    trainer.test(make_model(), tiny_dataloader(batches), verbose=False)
    tables = {head: pd.read_csv(tmp_path / "saliency" / f"{head}.csv") for head in ("kl", "oa")}
    assert list(tables["kl"]["knee"]) == list(tables["oa"]["knee"])
    assert not np.allclose(tables["kl"]["peak"], tables["oa"]["peak"])
    for head, table in tables.items():
        logged = trainer.callback_metrics[f"test/saliency/{head}/knees"]
        assert logged == table["enrichment"].notna().sum()
    maps = sorted(path.name for path in (tmp_path / "saliency" / "kl").iterdir())
    assert maps == sorted(f"{knee}.nii.gz" for knee in wanted)
    assert (tmp_path / "pictures" / "saliency" / "oa.png").is_file()
    assert not (tmp_path / "saliency" / "oa").exists()


@pytest.mark.parametrize("name", ["", "../up", "/root", "a//b", "a/.hidden"])
def test_names_stay_inside_the_run(name):
    with pytest.raises(ValueError, match="name: expected a relative path"):
        oh.CartilageSaliency(name=name)


def test_the_table_is_what_the_analysis_says(tmp_path):
    model, batches = make_model(), tiny_batches(3, 3, shape=(16, 20, 24))
    table, logged = evaluate(model, batches, tmp_path, callback=oh.CartilageSaliency(method="gradcam"))
    model.eval()
    rows = []
    for batch in batches:
        features = model.encoder.features(batch["mri"])
        maps = class_activation_map(
            features[-1], lambda a: model.heads["kl"].severity(model.heads["kl"](a.mean(dim=(2, 3, 4))))
        )
        overlap = saliency_overlap(resample(maps, batch["mri"].shape[2:]), cartilage_of(batch))
        overlap["iou_bound"] = iou_bound(cartilage_of(batch), features[-1].shape[2:])
        overlap["peak"] = maps.flatten(1).amax(dim=1)
        rows.append(pd.DataFrame({name: value.detach().double() for name, value in overlap.items()}))
    expected = pd.concat(rows, ignore_index=True)
    assert list(table["knee"]) == sorted(table["knee"])
    assert (expected["peak"] > 0).any()
    for name in expected:
        np.testing.assert_allclose(table[name], expected[name], rtol=2e-5, atol=1e-8)
        if name != "peak":
            assert logged[f"test/saliency/{name}"].item() == pytest.approx(expected[name].mean(), rel=1e-4)
    assert logged["test/saliency/knees"] == (expected["peak"] > 0).sum()
    assert logged["test/saliency/zero_maps"] == (expected["peak"] == 0).sum()
    assert (tmp_path / "pictures" / "saliency.png").stat().st_size > 10_000


def test_masks_of_other_knees_are_a_control(tmp_path):
    """With one mask for all knees, another knee's mask is as good as the knee's own."""
    table, _ = evaluate(make_model(), tiny_batches(3, 3), tmp_path)
    np.testing.assert_allclose(table["mass_in_other_cartilage"], table["mass_in_cartilage"], rtol=1e-5)
    np.testing.assert_allclose(table["enrichment_in_other_cartilage"], table["enrichment"], rtol=1e-5)


def test_fit_validate_and_test_agree(tmp_path):
    """Under no_grad (fit) and inference_mode, and whatever the size of the batches."""
    model = make_model(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    model.encoder.apply(lambda part: isinstance(part, nn.BatchNorm3d) and setattr(part, "momentum", 0.0))
    batches = tiny_batches(2, 3)
    trainer = tiny_trainer(
        tmp_path / "fit",
        callbacks=[oh.CartilageSaliency(method="gradcam", figures=0)],
        accumulate_grad_batches=2,
    )
    trainer.fit(model, tiny_dataloader(tiny_batches(4, 2, seed=5)), tiny_dataloader(batches))
    tables = [pd.read_csv(tmp_path / "fit" / "validation" / "saliency.csv")]
    tables.append(evaluate(model, batches, tmp_path / "validate", "validate")[0])
    single = tiny_batches(2, 3)
    rows = [_row(batch, row) for batch in single for row in range(3)]
    tables.append(evaluate(model, rows[::-1], tmp_path / "rows")[0])
    assert {"auroc", "peak_mm", "enrichment_of_image"} <= set(tables[1]) - set(tables[0])
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table[tables[0].columns], tables[0], rtol=1e-5)
    pd.testing.assert_frame_equal(tables[1], tables[2][tables[1].columns], rtol=1e-4)  # ties at rounding


def _row(batch, row):
    picked = {key: value[row : row + 1] for key, value in batch.items() if key != "targets"}
    return {**picked, "targets": {key: value[row : row + 1] for key, value in batch["targets"].items()}}


def test_sanity_check_leaves_no_trace(tmp_path):
    trainer = tiny_trainer(
        tmp_path, callbacks=[oh.CartilageSaliency()], num_sanity_val_steps=1, limit_val_batches=0
    )
    trainer.fit(make_model(), tiny_dataloader(tiny_batches(2)), tiny_dataloader(tiny_batches(2)))
    assert not (tmp_path / "validation").exists()


def test_knees_without_cartilage_have_saliency_but_no_overlap(tmp_path):
    batches = [tiny_batch((0, 4)), tiny_batch((2, 3), first=2, seed=1)]
    batches[0]["cartilage"][0] = 0
    del batches[1]["cartilage"]
    table, logged = evaluate(make_model(), batches, tmp_path)
    without = table["knee"] != "knee001"
    assert (
        table.loc[without, ["iou", "enrichment", "mass_in_other_cartilage", "iou_bound"]]
        .isna()
        .all(axis=None)
    )
    assert table.loc[~without, "enrichment"].notna().all()
    assert table.loc[~without, "mass_in_other_cartilage"].isna().all()  # nobody else to compare with
    assert logged["test/saliency/knees"] == 1
    assert table["peak"].notna().all()


def test_an_encoder_without_a_grid_is_left_alone(tmp_path, caplog):
    encoder = oh.PlainEncoder(nn.Sequential(nn.Flatten(), nn.Linear(4096, 3)), num_features=3)
    model = oh.HierarchicalClassifier(encoder, {"kl": oh.SoftmaxHead()})
    trainer = tiny_trainer(tmp_path, callbacks=[oh.CartilageSaliency(method="gradcam")])
    with caplog.at_level(logging.WARNING, "oahier"):
        trainer.test(model, tiny_dataloader(tiny_batches(3)), verbose=False)
    assert caplog.text.count("no feature map with a spatial grid") == 1
    assert not (tmp_path / "saliency.csv").exists()
    assert not any("saliency" in name for name in trainer.callback_metrics)


def test_bf16_precision(tmp_path):
    batches = tiny_batches(2, 3)
    expected, _ = evaluate(make_model(), batches, tmp_path / "full")
    table, _ = evaluate(make_model(), batches, tmp_path / "half", precision="bf16-mixed")
    defined = expected["peak"] > 1e-4
    assert defined.any()
    np.testing.assert_allclose(table["peak"][defined], expected["peak"][defined], rtol=0.1)
    np.testing.assert_allclose(
        table["mass_in_cartilage"][defined], expected["mass_in_cartilage"][defined], rtol=0.1
    )


def explain(model, batch, head="kl", **options):
    model.eval()
    with torch.no_grad():
        features = model.encoder.features(batch["mri"])
    explainer = TailExplainer(model, head, **options)
    return explainer(features, batch["targets"][model.target_of(head)], batch["mri"], batch["knee"])


@pytest.mark.parametrize("gap", [20.0, 60.0, 500.0])
def test_a_saturated_head_is_explained_in_double_precision_or_counted(tmp_path, gap):
    """P(OA) is constant in single precision from a logit of 17 on, in double precision from 37 on."""
    model, batch = make_model(("oa",)), tiny_batch((0, 4))
    reference = explain(model, batch, "oa", score="true")[1]  # of the logit itself
    with torch.no_grad():
        model.heads["oa"].projection.bias += gap
    saliency = explain(model, batch, "oa")[1]
    table, logged = evaluate(model, [batch], tmp_path)
    if gap < 37:
        torch.testing.assert_close(saliency / saliency.max(), (reference / reference.max()).to(saliency))
    else:
        assert (saliency == 0).all()
        assert math.isnan(table["iou"][1])
        assert logged["test/saliency/zero_maps"] == 2


class MarginalHead(oh.Head):
    reads_as = "log_probabilities"

    def __init__(self) -> None:
        super().__init__(2, reads="kl")

    def build(self, in_features):
        pass

    def forward(self, embedding):
        return torch.stack([embedding[:, :2].logsumexp(dim=1), embedding[:, 2:].logsumexp(dim=1)], dim=1)

    def log_probabilities(self, logits):
        return logits.log_softmax(dim=1)

    def row_losses(self, logits, labels):
        return torch.nn.functional.nll_loss(self.log_probabilities(logits), labels, reduction="none")


def test_a_head_that_reads_log_probabilities_is_explained_as_the_model_computes_it():
    model = oh.HierarchicalClassifier(TinyEncoder(), {"kl": oh.SoftmaxHead(), "oa": MarginalHead()}).eval()
    batch = tiny_batch((0, 4))
    embedding = model.encoder(batch["mri"])
    read = TailExplainer(model, "oa")._logits("oa", embedding)
    torch.testing.assert_close(read, model.logits_from_embedding(embedding)["oa"])
    assert (explain(model, batch, "oa").flatten(1).amax(dim=1) > 0).all()


def test_the_score_can_be_a_class():
    model, batch = make_model(), tiny_batch((0, 4, -1))
    true = explain(model, batch, score="true")
    assert true[2].isnan().all()
    with torch.no_grad():
        logits = model(batch["mri"])["kl"]
    wanted = copy.deepcopy(batch)
    wanted["targets"]["kl"] = logits.argmax(dim=1)
    torch.testing.assert_close(explain(model, batch, score="predicted"), explain(model, wanted, score="true"))
    wanted["targets"]["kl"] = torch.tensor([0, 4, 2])
    torch.testing.assert_close(explain(model, wanted, score="true")[:2], true[:2])
    assert not torch.equal(true[:2], explain(model, batch)[:2])


def test_probes_and_heads_that_read_heads_are_explained(tmp_path):
    heads = {"kl": oh.SoftmaxHead(), "oa": oh.BinaryHead(reads="kl", probe=True)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = oh.HierarchicalClassifier(make_model().encoder, heads)
        for parameter in model.heads.parameters():
            nn.init.normal_(parameter)
    batch = tiny_batch((0, 2, 4))
    saliency = explain(model, batch, "oa")
    features = model.encoder.features(batch["mri"])[-1].detach()
    expected = class_activation_map(
        features,
        lambda a: torch.sigmoid(model.heads["oa"](model.heads["kl"](a.mean(dim=(2, 3, 4)))))[:, 0],
    )
    assert expected.max() > 0
    torch.testing.assert_close(saliency.float(), expected, rtol=1e-4, atol=1e-7)
    table, _ = evaluate(
        model, [batch], tmp_path, callback=oh.CartilageSaliency("oa", method="gradcam", figures=0)
    )
    assert table["peak"].to_numpy() == pytest.approx(expected.flatten(1).amax(dim=1).numpy(), rel=1e-4)


def test_randomised_weights_are_a_control(tmp_path):
    model, batches = make_model(), tiny_batches(3, 3)
    table, logged = evaluate(
        model, batches, tmp_path / "a", callback=oh.CartilageSaliency(randomised=True, figures=0)
    )
    again, _ = evaluate(
        model, batches, tmp_path / "b", callback=oh.CartilageSaliency(randomised=True, figures=0)
    )
    pd.testing.assert_frame_equal(table, again)
    assert "test/saliency/enrichment_randomised" in logged
    assert not np.allclose(table["mass_in_cartilage_randomised"], table["mass_in_cartilage"], equal_nan=True)


def test_saved_maps_lie_on_the_volume(tmp_path):
    batch = tiny_batch((0, 4), shape=(16, 20, 24))
    batch["knee"] = ["a/1", "b"]
    batch["affine"][:, 0, 0], batch["affine"][:, 1, 3] = 0.7, -30
    model = make_model()
    evaluate(
        model, [batch], tmp_path, callback=oh.CartilageSaliency(method="gradcam", save_maps=True, figures=0)
    )
    expected = resample(explain(model, batch).float(), (16, 20, 24))
    for row, name in enumerate(("a%2F1", "b")):
        image = nib.load(tmp_path / "saliency" / f"{name}.nii.gz")
        np.testing.assert_allclose(image.get_fdata(), expected[row], rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(image.affine, batch["affine"][row], atol=1e-6)


def test_smoothgrad_reads_the_volume(tmp_path):
    model, batches = make_model(), tiny_batches(1, 3, shape=(8, 8, 8))
    table, logged = evaluate(
        model, batches, tmp_path / "a", callback=oh.CartilageSaliency(method="smoothgrad", figures=0)
    )
    rows = [_row(batches[0], row) for row in range(3)]
    single, _ = evaluate(
        model, rows, tmp_path / "b", callback=oh.CartilageSaliency(method="smoothgrad", figures=0)
    )
    pd.testing.assert_frame_equal(table, single, rtol=1e-4)  # noise belongs to the knee, not to the batch
    assert table["iou"].notna().all()
    assert (table["iou_bound"] == 1).all()
    assert logged["test/saliency/knees"] == 3


def test_pictures_show_the_first_knees_by_id(tmp_path, monkeypatch):
    shown = []

    def remember(knees, title):
        shown.append([knee.knee for knee in knees])
        return Figure(figsize=(1, 1))

    monkeypatch.setattr("oahier.callbacks.cartilage_saliency.saliency_picture", remember)
    batches = tiny_batches(3, 2)
    evaluate(make_model(), batches[::-1], tmp_path, callback=oh.CartilageSaliency(figures=3))
    assert shown == [["knee000", "knee001", "knee002"]]
    options = {"max_epochs": 3, "callbacks": [oh.CartilageSaliency(figure_every_n_epochs=2, figures=1)]}
    loaders = tiny_dataloader(batches), tiny_dataloader(batches)
    tiny_trainer(tmp_path / "every", **options).fit(make_model(), *loaders)
    assert len(shown) == 3  # epochs 0 and 2
    options["callbacks"] = [oh.CartilageSaliency(figure_every_n_epochs=5, figures=1)]
    tiny_trainer(tmp_path / "last", **options).fit(make_model(), *loaders)
    assert len(shown) == 5  # epoch 0 and the end


def test_planes_are_shown_as_radiologists_expect():
    """A marker towards right, anterior and superior appears where the letters say."""
    volume = np.zeros((8, 10, 12), dtype=np.float32)
    volume[6, 8, 10] = 1
    affine = np.diag([2.0, 1.0, 0.5, 1.0])
    planes = {plane.name: plane for plane in cut_planes(volume, volume, volume > 0, affine)}
    expected = {  # row from the bottom, column from the left
        "sagittal": ((10, 1), ("A", "P", "I", "S"), (10.0, 6.0)),
        "coronal": ((10, 1), ("R", "L", "I", "S"), (16.0, 6.0)),
        "axial": ((8, 1), ("R", "L", "P", "A"), (16.0, 10.0)),
    }
    for name, (place, edges, size) in expected.items():
        plane = planes[name]
        for image in (plane.mri, plane.saliency, plane.cartilage):
            assert [tuple(found) for found in np.argwhere(image)] == [place]
        assert plane.edges == edges
        assert plane.size == size
    assert cut_planes(volume, 0 * volume, volume > 9, affine)[0].index == 4


@pytest.mark.parametrize("cell", [(0, 3, 2), (2, 0, 0), (1, 1, 1)])
def test_planes_without_cartilage_go_through_the_peak(cell):
    """All three show the maximum, and those of a mirrored knee are the mirrored ones."""
    maps = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(1)) / 2
    maps[0][cell] = 1.0
    saliency = resample(maps, (27, 36, 45))[0].numpy()
    none = np.zeros(saliency.shape, dtype=bool)
    affine = np.diag([2.0, 1.0, 0.5, 1.0])
    for axes in ((), (0,), (1, 2), (0, 1, 2)):
        planes = cut_planes(np.flip(saliency, axes), np.flip(saliency, axes), np.flip(none, axes), affine)
        for axis, plane in enumerate(planes):
            assert plane.saliency.max() == pytest.approx(saliency.max(), rel=1e-6)
            centre = 9 * cell[axis] + 4
            assert plane.index == (saliency.shape[axis] - 1 - centre if axis in axes else centre)
    hidden = np.where(saliency > 0.9, np.nan, saliency)
    assert all(np.nanmax(plane.saliency) > 0.4 for plane in cut_planes(hidden, hidden, none, affine))


def test_the_outline_encloses_the_cartilage_of_a_real_knee(shared_data, tmp_path):
    """In the template, cartilage is brighter than bone: inside the drawn line it is bright."""
    folder = shared_data / "clair-template"
    mri = nib.as_closest_canonical(nib.load(folder / "template.nii.gz"))
    labels = nib.as_closest_canonical(nib.load(folder / "segmentation.nii.gz"))
    cartilage = np.isin(np.asarray(labels.dataobj), CARTILAGE_LABELS)
    bone = np.isin(np.asarray(labels.dataobj), (1, 3))
    values = mri.get_fdata(dtype=np.float32)
    planes = cut_planes(values, np.zeros_like(values), cartilage, mri.affine)
    for plane in planes:
        assert plane.cartilage.sum() > 100
        bright = plane.mri[plane.cartilage].mean()
        assert bright > 1.5 * values[bone].mean()
        assert plane.edges[0] in "AR"
    figure = saliency_picture([KneePicture("clair", "clair", planes)], "outline")
    drawn = [axes for axes in figure.axes if axes.collections]
    lines = [[path for item in axes.collections for path in item.get_paths()] for axes in drawn[:3]]
    for plane, paths in zip(planes, lines, strict=True):
        rows, columns = plane.cartilage.shape
        x, y = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
        centres = np.stack([x.ravel() * plane.size[0], y.ravel() * plane.size[1]], axis=1)
        crossings = sum(path.contains_points(centres).astype(int) for path in paths)
        assert (crossings.reshape(rows, columns) % 2 == plane.cartilage).mean() > 0.999


def test_errors_come_before_anything_is_computed(tmp_path):
    trainer = tiny_trainer(tmp_path, callbacks=[oh.CartilageSaliency("knee_pain")])
    with pytest.raises(ValueError, match=r"head: expected one of \['kl', 'oa'\], got 'knee_pain'"):
        trainer.test(make_model(), tiny_dataloader(tiny_batches(1)), verbose=False)
    with pytest.raises(ValueError, match=r"got dilation=-1\.0 and figures=3"):
        oh.CartilageSaliency(dilation=-1.0)
    with pytest.raises(ValueError, match="figure_every_n_epochs must be 0 or more, got -1"):
        oh.CartilageSaliency(figure_every_n_epochs=-1)
    trainer = tiny_trainer(tmp_path, callbacks=[oh.CartilageSaliency(stage=5)])
    with pytest.raises(ValueError, match="stage: the encoder has 2 feature maps"):
        trainer.test(make_model(), tiny_dataloader(tiny_batches(1)), verbose=False)


def test_a_model_in_training_mode_is_refused():
    model, batch = make_model(), tiny_batch()
    features = model.eval().encoder.features(batch["mri"])
    model.encoder.train()
    with pytest.raises(RuntimeError, match=r"\['encoder'\] are in training mode"):
        TailExplainer(model, "kl")(features, batch["targets"]["kl"], batch["mri"], batch["knee"])


def count_calls(monkeypatch, name):
    """Calls of a function of the module from now on, as a list that grows."""
    calls, original = [], getattr(regions, name)
    monkeypatch.setattr(regions, name, lambda *a, **k: calls.append(a) or original(*a, **k))
    return calls


def test_kept_regions_give_the_same_table_and_their_memory_is_bounded(tmp_path, monkeypatch, caplog):
    held_out = tiny_batches(4, 3, seed=2)
    tables = {}
    for limit in (regions.KEPT_BYTES, 1500, 0):
        callback = oh.CartilageSaliency(figure_every_n_epochs=0)
        callback._regions.limit = limit
        made = count_calls(monkeypatch, "_region")
        trainer = tiny_trainer(tmp_path / f"{limit}", callbacks=[callback], max_epochs=3)
        with caplog.at_level(logging.INFO, "oahier"):
            L.seed_everything(0, verbose=False)
            trainer.fit(make_model(), tiny_dataloader(tiny_batches(1)), tiny_dataloader(held_out))
        tables[limit] = (tmp_path / f"{limit}" / "validation" / "saliency.csv").read_text()
        assert callback._regions.nbytes <= limit
        assert len(made) == {regions.KEPT_BYTES: 12, 0: 36}.get(limit, len(made))
        monkeypatch.undo()
    assert len(set(tables.values())) == 1
    assert "further knees is made anew in each epoch" in caplog.text


def test_a_knee_whose_label_map_changes_is_measured_anew(tmp_path):
    callback = oh.CartilageSaliency()
    trainer = tiny_trainer(tmp_path, callbacks=[callback])
    batch = tiny_batches(1, 3, seed=2)[0]
    shares = []
    for shift in (0, 1):
        moved = {**batch, "cartilage": batch["cartilage"].clone()}
        moved["cartilage"][:, :, : 8 * shift] = 0
        callback._regions.clear = lambda: None  # not even a new run forgets by itself here
        trainer.test(make_model(), tiny_dataloader([moved]), verbose=False)
        shares.append(pd.read_csv(tmp_path / "saliency.csv")["cartilage_share"].tolist())
    assert shares[0] != shares[1]


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_half_precision_models_are_explained_and_drawn(tmp_path, precision):
    callback = oh.CartilageSaliency(dilation=1.0, save_maps=True, randomised=True)
    trainer = tiny_trainer(tmp_path, callbacks=[callback], precision=precision)
    batches = tiny_batches(2, 2, seed=4)
    affine = torch.diag(torch.tensor([0.3651234, 0.7123456, 1.0012345, 1.0], dtype=torch.float64))
    for batch in batches:
        batch["affine"] = affine.repeat(len(batch["knee"]), 1, 1)
    trainer.test(make_model(), tiny_dataloader(batches), verbose=False)
    table = pd.read_csv(tmp_path / "saliency.csv")
    assert np.isfinite(table["cartilage_share"]).all()
    for path in (tmp_path / "saliency").iterdir():
        np.testing.assert_allclose(nib.load(path).affine, affine, rtol=1e-6)  # NIfTI holds float32
    assert (tmp_path / "pictures" / "saliency.png").is_file()


def test_training_epochs_are_explained_cheaply_and_the_test_by_what_can_be_trusted(tmp_path, caplog):
    """The table and a message say by which method, and how its enrichment compares with every floor."""
    model, callback = make_model(), oh.CartilageSaliency(figures=1)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = tiny_trainer(tmp_path, callbacks=[callback])
    with caplog.at_level(logging.INFO, "oahier"):
        trainer.validate(model, tiny_dataloader(tiny_batches(2, 3)), verbose=False)
        trainer.test(model, tiny_dataloader(tiny_batches(2, 3)), verbose=False)
    tables = [pd.read_csv(tmp_path / folder / "saliency.csv") for folder in ("validation", ".")]
    training, trusted = default_methods()
    assert [set(table["method"]) for table in tables] == [{training.name}, {trusted.name}]
    assert "enrichment_randomised" in tables[1]
    assert "enrichment_randomised" not in tables[0]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    said = [record.getMessage() for record in caplog.records if "enrichment" in record.getMessage()]
    assert len(said) == 2
    assert f"Saliency ({trusted.name}, severity of head kl), test: enrichment" in said[1]
    for floor in (
        "above its highest floor",
        "chance 1.00",
        "the image itself",
        "random weights",
        "other knees",
    ):
        assert floor in said[1]


def test_floor_of_the_image_is_that_of_its_bright_voxels(tmp_path):
    batch = tiny_batch((0, 4))
    table, logged = evaluate(make_model(), [batch], tmp_path)
    expected = saliency_overlap(batch["mri"][:, 0].relu(), cartilage_of(batch))
    np.testing.assert_allclose(table["enrichment_of_image"], expected["enrichment"], rtol=1e-4)
    assert logged["test/saliency/enrichment_of_image"].item() == pytest.approx(
        expected["enrichment"].mean().item(), rel=1e-4
    )


def test_random_weights_are_those_of_the_whole_network(tmp_path):
    """The head alone would leave the encoder's maps as they are."""
    model, batch = make_model(), tiny_batch((0, 4, 2))
    callback = oh.CartilageSaliency(method=ActivationMap(), randomised=True, figures=0)
    table, _ = evaluate(model, [batch], tmp_path, callback=callback)
    with random_weights(model.encoder, model.heads, generator=torch.Generator().manual_seed(0)):
        drawn = explain(model, batch)
    expected = saliency_overlap(resample(drawn.float(), batch["mri"].shape[2:]), cartilage_of(batch))
    np.testing.assert_allclose(table["enrichment_randomised"], expected["enrichment"], rtol=1e-3, atol=1e-6)


def test_other_knees_masks_are_a_floor_of_fine_maps_too(tmp_path, monkeypatch):
    """Of a map as fine as the volume its means over blocks are kept: nearly the same number."""
    batches = [
        tiny_batch((grade, 4), shape=(16, 20, 24), first=2 * row, seed=row)
        for row, grade in enumerate((0, 2))
    ]
    for row, batch in enumerate(batches):
        batch["cartilage"] = batch["cartilage"].roll(row, dims=3)
    tables = []
    for cells in (32_768, 2_000):
        monkeypatch.setattr("oahier.callbacks.saliency_columns._LARGEST_GRID", cells)
        callback = oh.CartilageSaliency(method="smoothgrad", figures=0)
        tables.append(evaluate(make_model(), batches, tmp_path / str(cells), callback=callback)[0])
    exact, coarse = (table["enrichment_in_other_cartilage"] for table in tables)
    assert exact.notna().all()
    np.testing.assert_allclose(coarse, exact, rtol=0.15)


def test_verdict_is_above_only_if_the_interval_of_the_difference_is():
    numbers = np.random.default_rng(0)
    subjects = [f"s{row}" for row in range(20)]
    columns = {
        "enrichment": torch.from_numpy(numbers.normal(3, 0.3, 20)),
        "enrichment_of_image": torch.full((20,), 2.0),
    }
    assert re.match(
        r"enrichment 2\.9. \[2\.8., 3\.0.\], above its highest floor \(chance 1.00, the image itself 2.00\)",
        verdict(columns, subjects),
    )
    columns["enrichment_randomised"] = columns["enrichment"] + torch.from_numpy(numbers.normal(0, 1, 20))
    assert "NOT above" in verdict(columns, subjects)
    assert "too few subjects" in verdict({"enrichment": torch.tensor([2.0, np.nan])}, ["a", "b"])


def test_display_shows_what_lies_below_a_single_peak():
    volume = np.random.default_rng(0).random((20, 20, 20), dtype=np.float32)
    volume[3, 3, 3] = 1e4
    shown = for_display(volume)
    assert shown.max() == 1
    assert shown.mean() < 0.5
    flat = volume.copy()
    flat[3, 3, 3] = 0.5
    assert for_display(flat).mean() > 0.5
    assert not for_display(np.zeros((5, 5, 5), np.float32)).any()


def test_faint_saliency_leaves_the_mri_as_it_is_and_strong_saliency_covers_it():
    red, green, blue, opacity = heat_colours(np.linspace(0, 1, 101)).T
    assert (opacity[:20] == 0).all()
    assert (np.diff(opacity[20:]) >= 0).all()
    assert opacity[-1] >= 0.85
    on_grey = 0.5 * (1 - opacity[20:]) + opacity[20:] * np.stack([red, green, blue])[:, 20:]
    distance = np.abs(on_grey - 0.5).max(axis=0)
    assert (distance > 0.1).all(), "every painted colour differs from tissue"
    brown = (on_grey[0] > on_grey[1]) & (on_grey[1] > on_grey[2] + 0.05) & (on_grey[0] < 0.75)
    assert not brown.any()
