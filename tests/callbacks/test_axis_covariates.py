"""The severity axis against columns of the manifest, on phantoms that were scanned twice."""

from __future__ import annotations

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

import oahier as oh
from oahier.data import ManifestError
from oahier.phantom import make_phantoms
from oahier.testing.batches import tiny_batches, tiny_dataloader
from oahier.testing.model import tiny_model, tiny_trainer


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Twelve test knees, each scanned twice at one severity: a second visit at a rate of 0."""
    folder = tmp_path_factory.mktemp("rescans") / "phantoms"
    return make_phantoms(
        folder, knees=18, shape=(12, 16, 16), visits=2, rate=0.0, val=0.0, test=0.66, progress=False
    )


class ByBrightness(oh.PlainEncoder):
    """An encoder without weights: means of blocks."""

    def __init__(self):
        super().__init__(
            torch.nn.Sequential(torch.nn.AvgPool3d((12, 4, 4)), torch.nn.Flatten()), num_features=16
        )


def test_tests_measure_orders_inside_grades_and_grades_told_apart(phantoms, tmp_path):
    axis = oh.SeverityAxis(covariates=["severity"], repeats=["subject", "side"], keep_embeddings=False)
    data = oh.KneeMRIDataModule(phantoms, shape=(12, 16, 16), batch_size=6, targets=("kl", "oa"))
    model = oh.HierarchicalClassifier(ByBrightness(), {"kl": oh.SoftmaxHead()})
    trainer = L.Trainer(
        default_root_dir=tmp_path, callbacks=[axis, oh.PredictionWriter()], logger=False, max_epochs=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        num_sanity_val_steps=0,
    )  # fmt: skip
    (logged,) = trainer.test(model, data, verbose=False)
    orders = pd.read_csv(tmp_path / "severity_axis_order.csv").set_index("group")
    places = pd.read_csv(tmp_path / "severity_axis.csv").set_index("knee")
    severity = phantoms.table.set_index("knee")["severity"][places.index]
    inside = places["kl"].isin([2, 3, 4])
    expected = spearmanr(places["projection"][inside], severity[inside]).statistic
    if orders.loc["oa_1", "subjects"] >= 10:
        assert orders.loc["oa_1", "spearman"] == pytest.approx(expected)
    assert logged["test/axis/severity_in_oa_1"] == pytest.approx(orders.loc["oa_1", "spearman"], nan_ok=True)
    assert orders["note"].notna().any()  # the single grades have too few knees
    one, two = (places["projection"].filter(like=f"-V0{visit}").to_numpy() for visit in (0, 1))
    error = np.sqrt(((one - two) ** 2).mean() / 2)
    assert logged["test/axis/measurement_error"] == pytest.approx(error, rel=1e-4)
    width = np.quantile(places["projection"], 0.975, method="inverted_cdf") - np.quantile(
        places["projection"], 0.025, method="inverted_cdf"
    )
    assert logged["test/axis/discernible"] == pytest.approx(width / (1.96 * np.sqrt(2) * error), rel=1e-4)
    assert (tmp_path / "pictures" / "severity_axis.png").is_file()


def test_columns_that_are_not_there_are_refused_before_training(phantoms, tmp_path):
    data = oh.KneeMRIDataModule(phantoms, shape=(12, 16, 16))
    model = oh.HierarchicalClassifier(ByBrightness(), {"kl": oh.SoftmaxHead()})
    for options, message in (
        ({"covariates": ["thickness"]}, "covariate 'thickness': expected a column of numbers, one of"),
        ({"covariates": ["side"]}, "covariate 'side': expected a column of numbers"),
        ({"repeats": ["again"]}, "missing column 'again'"),
    ):
        trainer = tiny_trainer(tmp_path, callbacks=[oh.SeverityAxis(**options)])
        with pytest.raises(ManifestError, match=message):
            trainer.fit(model, data)
    trainer = tiny_trainer(tmp_path, callbacks=[oh.SeverityAxis(covariates=["severity"])])
    with pytest.raises(ValueError, match="expected a data module with a manifest"):
        trainer.fit(tiny_model(), tiny_dataloader(tiny_batches(1, 2)), tiny_dataloader(tiny_batches(1, 2)))
