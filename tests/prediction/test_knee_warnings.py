"""Two levels contradict each other where their decisions do, not where a mode lies elsewhere."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from miniature.bright import blob, write_bright_checkpoint, write_nifti

NETWORK = {"shape": (12, 16, 16), "spacing": (2.0, 2.0, 2.0)}


def predicted(folder: Path, grades: tuple[float, ...], oa: float, **options: object) -> tuple[pd.Series, str]:
    """The row and the page of a knee for which a model says these probabilities."""
    from oahier.prediction import predict_scans

    checkpoint = write_bright_checkpoint(folder / "model.ckpt", **NETWORK)
    content = torch.load(checkpoint, weights_only=True)
    state = content["state_dict"]
    for name, bias in (("kl", [math.log(value) for value in grades]), ("oa", [math.log(oa / (1 - oa))])):
        state[f"heads.{name}.projection.weight"] *= 0
        state[f"heads.{name}.projection.bias"][:] = torch.tensor(bias)
    torch.save(content, checkpoint)
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])).double().numpy()
    path = write_nifti(folder / "scan.nii.gz", blob((14, 16, 18), affine, (4, 5, 6), width=5), affine)
    table = predict_scans(checkpoint, path, folder / "out", **options).table
    return table.iloc[0], (folder / "out" / "pages" / "scan.html").read_text()


@pytest.mark.parametrize(
    ("grades", "oa", "disagree", "apart"),
    [
        ((0.30, 0.15, 0.20, 0.15, 0.20), 0.59, False, True),
        ((0.30, 0.25, 0.31, 0.07, 0.07), 0.40, False, True),
        ((0.30, 0.25, 0.31, 0.07, 0.07), 0.60, True, True),
        ((0.60, 0.20, 0.10, 0.05, 0.05), 0.60, True, False),
        ((0.05, 0.05, 0.60, 0.20, 0.10), 0.40, True, False),
        ((0.05, 0.05, 0.60, 0.20, 0.10), 0.90, False, False),
    ],
)
def test_heads_disagree(
    grades: tuple[float, ...], oa: float, disagree: bool, apart: bool, tmp_path: Path
) -> None:
    row, page = predicted(tmp_path, grades, oa)
    assert row["prob_oa"] == pytest.approx(oa, abs=1e-4)
    assert ("the heads disagree" in row["warnings"]) == disagree, row["warnings"]
    if disagree:
        above = sum(grades[2:])
        assert f"P(KL ≥ 2) = {above:.2f} but P(OA) = {oa:.2f}" in row["warnings"]
    assert ("is the most probable single grade" in page) == apart


def test_the_page_says_which_rule_chose_the_grade(tmp_path: Path) -> None:
    from oahier.metrics import WeightedMedian

    grades = (0.36, 0.05, 0.34, 0.15, 0.10)
    row, page = predicted(tmp_path, grades, 0.6)
    assert (row["pred_kl"], row["decoding_kl"]) == (0, "most probable grade")
    assert "KL 0 <small>most probable grade</small>" in page
    row, page = predicted(tmp_path, grades, 0.6, decoding=WeightedMedian())
    assert (row["pred_kl"], row["decoding_kl"]) == (2, "median grade")
    assert "KL 2 <small>median grade</small>" in page
    assert "is the most probable single grade" not in page
