"""``insist`` of every importer: kinds of errors in spite of which images and label maps are read."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from miniature.dicom import write_dicom_series
from miniature.oai import write_dess
from miniature.oai_zib import knee, write_image, write_mask
from miniature.oaizib_cm import make_oaizib_cm, write_knee

import oahier.intake
from oahier.cli.data.import_command import IMPORTERS
from oahier.images import read_image
from oahier.intake import (
    ImportOptions,
    ImportResult,
    import_oai,
    import_oai_zib,
    import_oaizib_cm,
    import_table,
)

SERIES = "00m/0.C.2/9001104/20041111/10000001"


@pytest.mark.parametrize("name", [module for module, _ in IMPORTERS.values()])
def test_every_importer_has_the_same_kinds(name: str, tmp_path: Path) -> None:
    function = getattr(oahier.intake, f"import_{name}")
    assert inspect.signature(function).parameters["shared"].annotation == "Unpack[ImportKeywords]"
    assert ImportOptions().insist == ""


def reasons(result: ImportResult) -> str:
    return " ".join(item.reason for item in result.left_out)


def forced(result: ImportResult) -> list[str]:
    return [note for note in result.report["notes"] if "read although" in note]


def test_oai(tmp_path: Path) -> None:
    for series in (SERIES, "00m/0.C.2/9001400/20041111/10000002"):
        write_dess(tmp_path / "tree" / series, "right")
    (tmp_path / "tree" / SERIES / "004").unlink()
    result = import_oai(tmp_path / "tree", tmp_path / "dest", progress=False)
    assert reasons(result).endswith("(to read it in spite of that: import it with --insist gaps,numbers)")
    result = import_oai(tmp_path / "tree", tmp_path / "dest", insist="gaps, numbers", progress=False)
    assert result.left_out == []
    first, second = result.manifest.table["mri"]
    assert first == "images/9001104-right-V00.nii.gz"
    assert second.startswith("../tree")
    assert len(forced(result)) == 2
    assert result.report["options"]["insist"] == ["gaps", "numbers"]


def test_oai_zib(tmp_path: Path) -> None:
    """A label map with bytes behind it that may be voxels."""
    phantom = knee(0.1)
    write_image(tmp_path / "tree" / SERIES, phantom)
    mask = write_mask(tmp_path / "masks/9001104.segmentation_masks.mhd", phantom.label_map)
    header = mask.read_text()
    voxels = mask.with_name(header.rpartition("ElementDataFile = ")[2].strip())
    assert "CompressedData = True" not in header
    voxels.write_bytes(voxels.read_bytes() + bytes(phantom.label_map[0].size))
    options = {"images": tmp_path / "tree", "progress": False}
    with pytest.raises(ValueError, match="--insist tail"):
        import_oai_zib(tmp_path / "masks", tmp_path / "dest", **options)
    result = import_oai_zib(tmp_path / "masks", tmp_path / "dest", insist="tail", **options)
    assert len(forced(result)) == 1
    written = read_image(tmp_path / "dest/cartilage/9001104-right-V00.nii.gz")
    np.testing.assert_array_equal(written.data, phantom.label_map)


def test_oaizib_cm(tmp_path: Path) -> None:
    tree = make_oaizib_cm(tmp_path / "tree", train=2, test=1)
    image, labels = tree / "imagesTr/oaizib_001_0000.nii.gz", tree / "labelsTr/oaizib_001.nii.gz"
    for path in (image, labels):
        add_slice(path)
    result = import_oaizib_cm(tree, tmp_path / "dest", progress=False)
    assert "(to read it in spite of that: import it with --insist tail)" in reasons(result)
    result = import_oaizib_cm(tree, tmp_path / "dest", insist=["tail"], progress=False)
    assert result.left_out == []
    row = result.manifest.table.set_index("knee").loc["oaizib_001"]
    assert row["mri"] == "images/oaizib_001.nii.gz"
    assert row["cartilage"] == "cartilage/oaizib_001.nii.gz"
    assert read_image(tmp_path / "dest" / row["cartilage"]).grid.same_as(
        read_image(tmp_path / "dest" / row["mri"]).grid
    )


def add_slice(path: Path) -> None:
    """Bytes as long as one slice behind the voxels of a packed NIfTI file."""
    import gzip

    content = gzip.decompress(path.read_bytes())
    image = read_image(path)
    dtype = int.from_bytes(content[72:74], "little") // 8
    shape = image.in_source_axes(image.data).shape
    path.write_bytes(gzip.compress(content + bytes(shape[0] * shape[1] * dtype)))


def test_series_and_label_maps_of_a_table(tmp_path: Path) -> None:
    """The folder of a series with a gap, and a label map whose header has an unknown field."""
    import SimpleITK as sitk

    volume = np.random.default_rng(0).integers(0, 900, (8, 8, 6)).astype(np.int16)
    files = write_dicom_series(tmp_path / "series", volume, np.diag([1.0, 1.0, 2.0, 1.0]))
    files[2].unlink()
    write_knee(tmp_path / "a.nii.gz", tmp_path / "labels.nii.gz", 1, 1)
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "labels.nii.gz")), str(tmp_path / "labels.nrrd"))
    content = (tmp_path / "labels.nrrd").read_bytes()
    (tmp_path / "labels.nrrd").write_bytes(content.replace(b"\n", b"\nPatientName: X\n", 1))
    (tmp_path / "t.csv").write_text("subject,mri,cartilage\n1,series,\n2,a.nii.gz,labels.nrrd\n")
    with pytest.raises(ValueError, match="--insist gaps,numbers"):
        import_table(tmp_path / "t.csv", tmp_path / "dest", progress=False)
    assert "--insist fields" in (tmp_path / "dest/left-out.csv").read_text()
    options = {"insist": "gaps,numbers,fields", "progress": False}
    for more in ({}, {"labels": "0=0,1=1,2=2,3=3,4=4,5=5"}):
        result = import_table(tmp_path / "t.csv", tmp_path / "dest", **options, **more)
        assert result.left_out == []
        assert result.manifest.table["mri"].tolist() == ["images/1.nii.gz", "../a.nii.gz"]
        assert result.manifest.table["cartilage"].tolist() == ["", "cartilage/2.nii.gz"]
        expected = read_image(tmp_path / "labels.nii.gz").data
        np.testing.assert_array_equal(read_image(tmp_path / "dest/cartilage/2.nii.gz").data, expected)
        assert [note for note in forced(result) if "labels.nrrd" in note]
