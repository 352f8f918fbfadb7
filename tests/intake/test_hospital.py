"""A hospital's DICOM tree becomes exactly the manifest that it should, and nobody's name leaves it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from miniature.hospital import make_hospital

from oahier.cli import main
from oahier.images import read_image
from oahier.intake import import_dicom

LABELS = {
    "series": "dess", "labels": "grades.csv",
    "columns": "patient=MRN,side=Seite,kl=KL-Grad,sex=Geschlecht",
    "values": "side.rechts=right,side.links=left,sex.w=F,sex.m=M", "progress": False,
}  # fmt: skip


@pytest.fixture
def hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_hospital(tmp_path)


def test_exactly_the_expected_manifest(hospital: Path) -> None:
    result = import_dicom(hospital, "knees", **LABELS)
    table = pd.read_csv("knees/manifest.csv", dtype=str, keep_default_na=False)
    found = table[["knee", "subject", "side", "visit", "kl", "oa", "sex"]].to_numpy().tolist()
    assert found == [
        ["P001-left-20240105", "P001", "left", "20240105", "2", "1", "F"],
        ["P001-right-20240105", "P001", "right", "20240105", "1", "0", "F"],
        ["P001-right-20250110", "P001", "right", "20250110", "1", "0", "F"],
        ["P002-right-20240105", "P002", "right", "20240105", "2", "1", "M"],
        ["P004-right-20240105", "P004", "right", "20240105", "", "", ""],
    ]
    left_out = {item.source: item.reason for item in result.left_out}
    assert set(left_out) == {"P002/20240105/dessL", "P003/20240105/dessR"}
    assert "1 missing" in left_out["P002/20240105/dessL"]
    reason = left_out["P003/20240105/dessR"]
    assert "grades.csv says left, the image's header says right" in reason
    assert any("cp1252" in note for note in result.report["notes"])


def test_a_series_that_shares_its_folder_is_written_alone(hospital: Path) -> None:
    import_dicom(hospital, "knees", **LABELS)
    table = pd.read_csv("knees/manifest.csv", dtype=str).set_index("knee")["mri"]
    written = [path for path in table if path.startswith("images/")]
    assert written == ["images/P002-right-20240105.nii.gz"]
    assert read_image(Path("knees") / written[0]).data.shape == (12, 20, 20)
    other = hospital / "P001" / "20240105" / "dessR"
    assert read_image(other).data.shape == (12, 20, 20)


def test_no_name_and_no_birth_date_is_written(hospital: Path) -> None:
    import_dicom(hospital, "knees", **LABELS)
    written = [path for path in Path("knees").rglob("*") if path.is_file()]
    assert len(written) > 5
    import gzip

    for path in written:
        content = path.read_bytes()
        if path.name.endswith(".gz"):
            content = gzip.decompress(content)
        assert b"Mustermann" not in content, path
        assert b"19500101" not in content, path


def test_without_a_choice_the_descriptions_are_listed(
    hospital: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "import", "dicom", str(hospital), "knees", "--no-progress"]) == 2
    said = capsys.readouterr().err
    assert "7 x DESS_sag_3D" in said
    assert "3 x localizer" in said
    listed = pd.read_csv("knees/series.csv", dtype=str)
    assert len(listed) == 10
    assert not Path("knees/manifest.csv").exists()


def test_importing_twice_changes_nothing(hospital: Path) -> None:
    first = import_dicom(hospital, "knees", **LABELS).manifest.table
    before = Path("knees/manifest.csv").read_bytes()
    second = import_dicom(hospital, "knees", **LABELS).manifest.table
    assert Path("knees/manifest.csv").read_bytes() == before
    pd.testing.assert_frame_equal(first, second)


def test_bad_choices(hospital: Path) -> None:
    with pytest.raises(ValueError, match="series"):
        import_dicom(hospital, "knees", series="(", progress=False)
    with pytest.raises(ValueError, match="T2"):
        import_dicom(hospital, "knees", series="T2", progress=False)
    with pytest.raises((ValueError, OSError), match="nowhere"):
        import_dicom(hospital / "nowhere", "knees", progress=False)
