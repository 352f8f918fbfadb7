"""``oahier data cartilage`` on phantoms whose cartilage thins with severity."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from oahier.cli.main import main
from oahier.data import read_manifest
from oahier.data.cartilage_columns import CARTILAGE_COLUMNS
from oahier.images import read_image
from oahier.phantom import make_phantoms


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cartilage") / "phantoms"
    make_phantoms(
        folder, knees=8, shape=(32, 48, 48), grade_weights=(1.0, 0.0, 0.0, 0.0, 1.0), progress=False
    )
    return folder


def test_columns_are_written_and_say_what_the_label_maps_hold(folder, capsys):
    out = folder / "measured.csv"
    assert main(["data", "cartilage", str(folder), str(out)]) == 0
    assert "femoral_thickness_mm" in capsys.readouterr().out
    table = read_manifest(out).table
    assert set(CARTILAGE_COLUMNS) <= set(table)
    image = read_image(folder / table["cartilage"].iloc[0])
    volume = (image.data == 4).sum() * np.prod(image.grid.spacing)
    assert table["medial_tibial_volume_mm3"].iloc[0] == pytest.approx(volume, abs=1e-3)
    healthy, ill = (table[table["true_kl"] == grade] for grade in (0, 4))
    assert healthy["medial_tibial_volume_mm3"].mean() > ill["medial_tibial_volume_mm3"].mean()
    assert read_manifest(out).labels("femoral_thickness_mm").dtype == np.float32
    before = read_manifest(folder).table
    pd.testing.assert_frame_equal(table.drop(columns=list(CARTILAGE_COLUMNS)), before)


def test_knees_without_a_label_map_have_empty_cells(folder, tmp_path):
    table = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    table.loc[0, "cartilage"] = ""
    table.to_csv(folder / "some.csv", index=False)
    assert (
        main(["data", "cartilage", str(folder / "some.csv"), str(tmp_path / "out.csv"), "--workers=2"]) == 0
    )
    measured = read_manifest(tmp_path / "out.csv").table
    assert measured[list(CARTILAGE_COLUMNS)].isna().sum(axis=1).tolist() == [6] + [0] * 7


def test_what_cannot_be_measured_is_said(folder, tmp_path, capsys):
    table = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    table.assign(cartilage="").to_csv(folder / "none.csv", index=False)
    assert main(["data", "cartilage", str(folder / "none.csv"), str(tmp_path / "out.csv")]) != 0
    assert "expected label maps to measure, got none" in capsys.readouterr().err
    (folder / "broken.nii.gz").write_bytes(b"no image")
    table.assign(cartilage="broken.nii.gz").to_csv(folder / "broken.csv", index=False)
    assert main(["data", "cartilage", str(folder / "broken.csv"), str(tmp_path / "out.csv")]) != 0
    assert "broken.nii.gz" in capsys.readouterr().err
    out = folder / "manifest.csv"
    assert main(["data", "cartilage", str(folder), str(out)]) != 0
    assert "--overwrite" in capsys.readouterr().err
