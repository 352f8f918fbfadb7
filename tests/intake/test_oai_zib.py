from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from miniature.oai import pack
from miniature.oai_zib import knee, make_oai_zib, write_image, write_mask

from oahier.images import read_image
from oahier.intake.oai_zib import import_oai_zib

MASKS = "segmentation/segmentation_masks"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_oai_zib(tmp_path_factory.mktemp("zib"))


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory):
    return run(source, tmp_path_factory.mktemp("whole") / "dest")


def run(source: Path, destination: Path, **options):
    return import_oai_zib(source, destination, progress=False, **options)


def test_the_manifest(whole) -> None:
    with (whole.folder / "manifest.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    expected = [
        ("9001104", "right", "0", "1"), ("9001400", "left", "2", "2"), ("9002316", "right", "3", "2"),
        ("9002430", "left", "1", "1"),
    ]  # fmt: skip
    for row, (subject, side, kl, fold) in zip(found, expected, strict=True):
        name = f"{subject}-{side}-V00"
        image = f"results/00m/0.C.2/{subject}/20041111/10000001"
        assert row.pop("mri").endswith(image)
        assert len(row.pop("source_hash")) == 64
        assert row.pop("licence").startswith("OAI data use agreement (NDA)")
        assert row.pop("image_notes").endswith("of the map lies in tissue")
        assert row == {
            "knee": name, "subject": subject, "side": side, "visit": "V00", "kl": kl, "split": "",
            "oa": str(int(int(kl) >= 2)), "cartilage": f"cartilage/{name}.nii.gz", "scan_date": "2004-11-11",
            "month": "0", "fold": fold, "source": image,
        }  # fmt: skip


def test_label_maps_lie_on_the_images_with_our_ids(whole) -> None:
    knees = {
        "9001104": (0.1, "right"),
        "9001400": (0.5, "left"),
        "9002316": (0.7, "right"),
        "9002430": (0.3, "left"),
    }
    for row in whole.manifest.table.to_dict("records"):
        severity, side = knees[str(row["subject"])]
        labels = read_image(whole.folder / str(row["cartilage"]))
        image = read_image(whole.folder / str(row["mri"]))
        np.testing.assert_array_equal(labels.data, knee(severity, side).label_map)
        assert labels.grid.same_as(image.grid)
        assert labels.source.same_as(image.source)  # stored in the axes of the DICOM image


def test_what_is_left_out_and_why(whole) -> None:
    image = "results/00m/0.C.2/{}/20041111/10000001".format
    found = [(item.source, item.subject, item.reason) for item in whole.left_out]
    assert found[:1] == [
        (f"{MASKS}/9003316.segmentation_masks.mhd", "9003316",
         "its image 0.E.1/9003316/20050101/10000009 is not in the tree of images"),
    ]  # fmt: skip
    assert found[1][:2] == (image("9003126"), "9003126")
    assert "it fits the image in no orientation: cartilage brighter than bone at" in found[1][2]
    assert found[2][:2] == (image("9003406"), "9003406")
    assert "expected the ids 0 background, 1 femur" in found[2][2]
    assert len(found) == 3


def test_how_each_map_was_laid_is_noted(whole) -> None:
    notes = [note for note in whole.report["notes"] if note.startswith("9002316")]
    assert notes[0].startswith("9002316-right-V00: axes of the map ")
    assert "cartilage brighter than bone at 9" in notes[0]
    assert "medial and" in notes[1]
    assert notes[2] == "9002316-right-V00: 100.0% of the map lies in tissue"


def test_without_the_list_of_paths(source: Path, tmp_path: Path) -> None:
    """The baseline series of the subject, if there is one; both knees leave it open."""
    shutil.copytree(source / MASKS, tmp_path / "masks")
    result = run(tmp_path / "masks", tmp_path / "a", images=source / "results/00m", grades=source / "results")
    assert result.manifest.table["subject"].tolist() == ["9001104", "9002316", "9002430"]
    reasons = {item.subject: item.reason for item in result.left_out}
    assert reasons["9001400"] == (
        "series of the left and right knee, and no oai_mri_paths.txt that tells which it is of; choose one "
        "(--sides)"
    )
    assert reasons["9003316"] == "no baseline DESS series of this subject that can be used"
    result = run(tmp_path / "masks", tmp_path / "b", images=source / "results/00m", sides="left")
    assert result.manifest.table["knee"].tolist() == ["9001400-left-V00", "9002430-left-V00"]


def test_a_tree_without_any_listed_series(source: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"9001104: expected the series that oai_mri_paths.txt lists, such as "
        r"0.C.2/9001104/20041111/10000001, found none of 7; give the folder that holds 0.C.2 \(--images\)",
    ):
        run(source, tmp_path / "dest", images=source / "results/00m/0.C.2/9001104")


def test_packed_images(tmp_path: Path) -> None:
    phantom = knee(0.2)
    pack(write_image(tmp_path / "image03/00m/0.C.2/9001104/20041111/10000001", phantom))
    write_mask(tmp_path / "9001104.segmentation_masks.mhd", phantom.label_map)
    (tmp_path / "oai_mri_paths.txt").write_text("9001104: 0.C.2/9001104/20041111/10000001/\n")
    result = run(tmp_path, tmp_path / "dest")
    np.testing.assert_array_equal(
        read_image(result.folder / "cartilage/9001104-right-V00.nii.gz").data, phantom.label_map
    )


def test_sources_that_are_no_oai_zib(source: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"expected label maps as 9001104.segmentation_masks.mhd, found none"
    ):
        run(source / "results", tmp_path / "dest")
    with pytest.raises(OSError, match="no such folder"):
        run(tmp_path / "none", tmp_path / "dest")
    write_mask(tmp_path / "z/a/9001104.segmentation_masks.mhd", knee(0.2).label_map)
    write_mask(tmp_path / "z/b/9001104.segmentation_masks.mhd", knee(0.2).label_map)
    with pytest.raises(ValueError, match="two label maps of 9001104"):
        run(tmp_path / "z", tmp_path / "dest")
    shutil.rmtree(tmp_path / "z/b")
    (tmp_path / "z/oai_mri_paths.txt").write_text("9001104 somewhere\n")
    with pytest.raises(ValueError, match=r"oai_mri_paths.txt, line 1: expected <id>: 0.C.2/9001104"):
        run(tmp_path / "z", tmp_path / "dest")


def test_a_damaged_map_is_left_out(tmp_path: Path) -> None:
    for number, subject in enumerate(("9001104", "9001105", "9001106")):
        phantom = knee(0.2)
        write_image(tmp_path / f"00m/0.C.2/{subject}/20041111/1000000{number}", phantom)
        path = write_mask(tmp_path / f"masks/{subject}.segmentation_masks.mhd", phantom.label_map)
        raw = path.with_suffix(".raw")
        if number == 0:
            raw.write_bytes(raw.read_bytes()[:-5])
        elif number == 1:
            raw.unlink()
    result = run(tmp_path / "masks", tmp_path / "dest", images=tmp_path)
    assert result.manifest.table["subject"].tolist() == ["9001106"]
    reasons = {item.subject: item.reason for item in result.left_out}
    assert "truncated or damaged" in reasons["9001104"]
    assert "names the data file '9001105.segmentation_masks.raw', which does not exist" in reasons["9001105"]
