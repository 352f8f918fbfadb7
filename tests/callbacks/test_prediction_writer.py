"""The files that every later analysis starts from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from oahier.callbacks import PredictionWriter
from oahier.callbacks.prediction_writer import prediction_columns
from oahier.gathering import EpochTable
from oahier.metrics import ordinal_metrics

ORDER = ["knee", "subject", "label_kl", "label_oa", "prob_oa", *(f"prob_kl_{grade}" for grade in range(5))]


def _read(folder):
    table = pd.read_csv(folder / "predictions.csv", dtype={"knee": str, "subject": str})
    with np.load(folder / "embeddings.npz", allow_pickle=False) as arrays:
        return table, arrays["knee"], arrays["embedding"]


def test_test_files(tmp_path, tiny_model, loader, trainer):
    model, data = tiny_model(), loader(20, unlabelled=(4,))
    trainer(PredictionWriter()).test(model, data, verbose=False)
    table, knees, embedding = _read(tmp_path)

    assert list(table)[: len(ORDER)] == ORDER
    assert list(table)[len(ORDER) :] == ["pred_kl", "severity_kl", "pred_oa", "decoding_kl"]
    assert table["knee"].tolist() == sorted(data.dataset.names) == knees.tolist()
    assert table["subject"].tolist() == [f"subject-{knee[:-1]}" for knee in table["knee"]]
    unlabelled = data.dataset.names[4]
    assert table.loc[table["label_kl"].isna(), "knee"].tolist() == [unlabelled]

    rows = [data.dataset.names.index(knee) for knee in knees]
    model.eval()
    with torch.no_grad():
        expected = model.encoder(data.dataset.values[rows])
        probabilities = model.heads["kl"](expected).softmax(dim=1)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, expected.numpy(), rtol=1e-5, atol=1e-6)
    written = table[[f"prob_kl_{grade}" for grade in range(5)]].to_numpy()
    np.testing.assert_allclose(written, probabilities.numpy(), rtol=1e-5)
    np.testing.assert_allclose(table["severity_kl"], probabilities.numpy() @ np.arange(5), rtol=1e-5)
    assert (table["pred_kl"] == written.argmax(axis=1)).all()
    assert (table["pred_oa"] == (table["prob_oa"] >= 0.5)).all()
    known = table["label_kl"].notna()
    assert (table.loc[known, "label_kl"] == data.dataset.kl[rows].numpy()[known]).all()


def test_measures_from_the_file_equal_measures_from_the_model(tmp_path, tiny_model, loader, trainer):
    """Nine digits hold all of single precision, so ties and order survive the file."""
    model, data = tiny_model("kl"), loader(40)
    trainer(PredictionWriter()).test(model, data, verbose=False)
    table, _, _ = _read(tmp_path)
    written = table[[f"prob_kl_{grade}" for grade in range(5)]].to_numpy().astype(np.float32)
    rows = [data.dataset.names.index(knee) for knee in table["knee"]]
    model.eval()
    with torch.no_grad():
        exact = torch.cat(
            [model.heads["kl"](model.encoder(part)).softmax(1) for part in data.dataset.values.split(8)]
        )
    assert (written == exact.numpy()[rows]).all()
    assert ordinal_metrics(written, table["label_kl"].to_numpy())["qwk"] == pytest.approx(
        ordinal_metrics(exact, data.dataset.kl)["qwk"]
    )


def test_validation_and_prediction_have_their_own_folders(tmp_path, tiny_model, loader, trainer):
    model = tiny_model()
    runner = trainer(PredictionWriter())
    runner.fit(model, loader(16), loader(12, name="val"))
    runner.predict(model, loader(9, name="new"))
    assert not (tmp_path / "predictions.csv").exists()
    for folder, name, knees in (("validation", "val", 12), ("predict", "new", 9)):
        table, ids, embedding = _read(tmp_path / folder)
        assert len(table) == len(ids) == len(embedding) == knees
        assert table["knee"].str.startswith(name).all()


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        ("oa", ["label_oa", "prob_oa", "pred_oa"]),
        (
            "kl",
            [
                "label_kl",
                *(f"prob_kl_{grade}" for grade in range(5)),
                "pred_kl",
                "severity_kl",
                "decoding_kl",
            ],
        ),
    ],
)
def test_a_head_that_does_not_exist_has_no_columns(head, columns, tmp_path, tiny_model, loader, trainer):
    trainer(PredictionWriter()).test(tiny_model(head), loader(8), verbose=False)
    assert list(_read(tmp_path)[0]) == ["knee", "subject", *columns]


def _epoch(**heads: torch.Tensor) -> EpochTable:
    """Two knees with these probabilities."""
    columns = {f"{head}/probabilities": values for head, values in heads.items()}
    columns |= {
        f"{head}/severity": values @ torch.arange(values.shape[1]).float() for head, values in heads.items()
    }
    columns |= {f"{head}/labels": torch.tensor([0, -1]) for head in heads}
    return EpochTable(["a", "b"], ["s", "s"], columns)


def test_a_diverged_knee_has_no_decision():
    """Not grade 0, which would look like a finding."""
    p = torch.tensor([[torch.nan] * 5, [0.1, 0.6, 0.1, 0.1, 0.1]])
    columns = prediction_columns(_epoch(kl=p, oa=torch.tensor([[torch.nan, torch.nan], [0.5, 0.5]])))
    assert columns["pred_kl"] == [None, 1]
    assert columns["pred_oa"] == [None, 1]
    assert columns["label_kl"] == [0, None]
    assert np.isnan([columns["prob_kl_0"][0], columns["prob_oa"][0], columns["severity_kl"][0]]).all()


def test_heads_that_need_one_column_are_refused():
    five, two = torch.full((2, 5), 0.2), torch.full((2, 2), 0.5)
    with pytest.raises(ValueError, match="heads 'kl' and 'kl_2': both need the column prob_kl_2"):
        prediction_columns(_epoch(kl=five, kl_2=two))
    assert "prob_kl_2_4" in prediction_columns(_epoch(kl=five, kl_2=five))
    assert "prob_kl_5" in prediction_columns(_epoch(kl=five, kl_5=two))
