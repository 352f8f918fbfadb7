from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from miniature.dicom import write_dicom_series
from miniature.oaizib_cm import write_knee, write_rows

from oahier.files import EMPTY_CELL
from oahier.intake import import_table
from oahier.intake.options import read_ids, read_pairs
from oahier.intake.path_patterns import Template


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for number, name in enumerate(("0071_left", "0071_right", "0100_right", "9001_left")):
        write_knee(tmp_path / f"scans/{name}.nii.gz", tmp_path / f"scans/{name}_seg.nii.gz", number, number)
    return tmp_path


def imported(folder: Path, table: str | list[list[Any]] = "", **options: Any) -> Any:
    if isinstance(table, list):
        write_rows(folder / "labels.xlsx", table[1:], tuple(table[0]))
        name = "labels.xlsx"
    else:
        name = "labels.csv"
        if table:
            (folder / name).write_text(table)
    return import_table(folder / name, folder / "dest", progress=False, **options)


def rows(result: Any, *columns: str) -> list[list[Any]]:
    return result.manifest.table[list(columns)].to_numpy().tolist()


def test_columns_codes_and_paths(scans: Path) -> None:
    text = "ID;patient;path;mask;grade;side;Geschlecht;visit\n"
    text += "a;0071;scans/0071_left.nii.gz;scans/0071_left_seg.nii.gz;2.0;2;1;V00\n"
    text += "b;0071;scans\\0071_right.nii.gz;;;1;2;V01\n"
    result = imported(
        scans, text, columns="knee=ID,subject=patient,mri=path,cartilage=mask,kl=grade,sex=Geschlecht",
        values="side.1=right,side.2=left,sex.1=M,sex.2=F",
    )  # fmt: skip
    assert rows(result, "knee", "subject", "side", "visit", "mri", "cartilage", "kl", "sex") == [
        ["a", "0071", "left", "V00", "../scans/0071_left.nii.gz", "../scans/0071_left_seg.nii.gz", 2, "M"],
        ["b", "0071", "right", "V01", "../scans/0071_right.nii.gz", "", -1, "F"],
    ]
    assert result.manifest.table.columns[9:].tolist() == ["sex", "source", "source_hash", "licence"]


def test_names_follow_from_subject_side_and_visit(scans: Path) -> None:
    text = "subject,side,visit,file\n0071,L,V00,0071_left\n0071,R,,0071_right\n9001,,,9001_left\n"
    result = imported(scans, text, mri="scans/{file}.nii.gz", covariates="none")
    assert rows(result, "knee") == [["0071-left-V00"], ["0071-right"], ["9001"]]
    again = imported(scans, text, mri="scans/{file}.nii.gz", covariates="file")
    assert rows(again, "file") == [["0071_left"], ["0071_right"], ["9001_left"]]


def test_patterns_and_lost_zeros(scans: Path) -> None:
    (scans / "scans/0100_left_a.nii.gz").touch()
    (scans / "scans/0100_left_b.nii.gz").touch()
    table = [["ID", "side", "kl"], [71, "left", 0], [71, "right", 1], [100, "right", 2], [100, "left", 2]]
    table += [[9001, "left", 3], [9001, "right", 4], [None, "left", 4]]
    options = {"columns": {"subject": "ID"}, "mri": "scans/{ID}_{side}*.nii.gz", "covariates": "none"}
    with pytest.raises(ValueError, match="none of 7 could be imported"):
        imported(scans, table, **options)
    assert (scans / "dest/left-out.csv").read_text().splitlines()[1] == (
        'labels.xlsx row 2,0071-left,0071,"2 files match scans/0071_left*.nii.gz: scans/0071_left.nii.gz, '
        'scans/0071_left_seg.nii.gz; make the path more exact"'
    )
    options |= {"mri": "scans/{ID}_{side}.nii.gz", "cartilage": "scans/{ID}_{side}_seg.nii.gz"}
    result = imported(scans, table, **options)
    assert rows(result, "knee", "subject", "cartilage", "kl")[:2] == [
        ["0071-left", "0071", "../scans/0071_left_seg.nii.gz", 0],
        ["0071-right", "0071", "../scans/0071_right_seg.nii.gz", 1],
    ]
    assert result.report["notes"] == ["2 ids had lost leading zeros, '71' is '0071' in file names"]
    reasons = {item.source: item.reason for item in result.left_out}
    assert reasons == {
        "labels.xlsx row 5": f"there is no file scans/0100_left.nii.gz in {scans}",
        "labels.xlsx row 7": f"there is no file scans/9001_right.nii.gz in {scans}",
        "labels.xlsx row 8": f"column 'ID': expected a subject, got {EMPTY_CELL}",
    }


def test_zeros_that_could_be_either(scans: Path) -> None:
    write_knee(scans / "scans/071_left.nii.gz", None, 0, 0)
    with pytest.raises(
        ValueError, match=r"id '71': leading zeros may be lost, and file names hold '0071', '071'"
    ):
        imported(scans, "subject,side\n71,left\n", mri="scans/{subject}_{side}.nii.gz")


def test_rows_that_cannot_be_used(scans: Path) -> None:
    text = "subject,mri,kl,oa,side,split\n"
    text += "1,scans/0071_left.nii.gz,KL2,,left,train\n2,none.nii.gz,1,,left,train\n3,,1,,left,train\n"
    text += "4,scans/0071_left.nii.gz,1,1,left,train\n5,scans/0071_left.nii.gz,1,,both,train\n"
    text += "6,scans/0071_left.nii.gz,1,,left,training\n7,scans/0071_left.nii.gz,1,0,left,train\n"
    text += (
        "8,scans/0071_left.nii.gz,,2,left,train\n9,labels.csv,,,left,train\n10," + "x" * 300 + ",,,,train\n"
    )
    result = imported(scans, text)
    assert rows(result, "subject", "kl", "oa") == [["7", 1, 0]]
    starts = {
        "1": "column 'kl': expected a grade 0-4 as a number, or an empty cell, got 'KL2'",
        "2": f"there is no file none.nii.gz in {scans}",
        "3": "no path of an image",
        "4": "OA 1 contradicts KL 1, which means 0",
        "5": "side: expected left or right, got 'both'; map it: --values side.both=right",
        "6": "split: expected one of train, val, test, got 'training'; map it: --values split.training=train",
        "8": "column 'oa': expected 0, 1 or an empty cell, got '2'",
        "9": "labels.csv: unknown kind of image",
        "10": "there is no file xxx",
    }
    reasons = {item.subject: item.reason for item in result.left_out}
    assert set(reasons) == set(starts)
    for subject, start in starts.items():
        assert reasons[subject].startswith(start), reasons[subject]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("patient,mri\n1,a\n", {}, r"expected a column with the subject .* so it cannot be guessed"),
        (
            "subject,x\n1,a\n",
            {},
            r"expected a column with the path of the image .* the columns are subject, x",
        ),
        (
            "subject,x\n1,a\n",
            {"columns": "mri=path"},
            "expected one column 'path', got 0; its columns are subject, x",
        ),
        ("subject,x\n1,a\n", {"mri": "{ID}.nii"}, r"the path of mri, \{ID\}.nii: no column 'ID'"),
        ("subject,mri\n1,a\n", {"values": "side.1=left"}, "values side.1=left: no column 'side'"),
        ("subject,mri\n1,a\n", {"values": "mri=left"}, "expected column.code=meaning, got mri=left"),
        ("subject,mri\n1,a\n", {"columns": "knee"}, "columns: expected name=value pairs"),
        ("subject,mri\n1,a\n", {"labels": "a=b"}, "labels: expected pairs of whole numbers"),
        ("subject,mri\n1,a\n", {"series": "("}, r"series: expected a regular expression, got '\('"),
        ("subject,mri\n1,a\n", {"covariates": "age"}, "expected one column 'age'"),
        (
            "subject,mri,kl\n1,a,II\n2,a,III\n",
            {},
            "row 2, column 'kl': .*'II', and none of 2 grades can be read",
        ),
    ],
)
def test_options_and_columns_that_do_not_fit(tmp_path: Path, text: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        imported(tmp_path, text, **options)
    assert not (tmp_path / "dest").exists()


def test_grades_as_words_can_be_translated(scans: Path) -> None:
    text = "subject,mri,kl\n1,scans/0071_left.nii.gz,KL2\n2,scans/0071_right.nii.gz,KL4\n"
    result = imported(scans, text, values="kl.KL2=2,kl.KL4=4")
    assert result.manifest.labels("kl").tolist() == [2, 4]


def test_other_label_ids_are_written_anew(scans: Path) -> None:
    volume = nib.load(scans / "scans/0071_left_seg.nii.gz")
    theirs = np.array([0, 5, 1, 6, 2, 3])[np.asarray(volume.dataobj)].astype(np.uint8)
    nib.save(nib.Nifti1Image(theirs, volume.affine), scans / "scans/other.nii.gz")
    text = "subject,mri,cartilage\n1,scans/0071_left.nii.gz,scans/other.nii.gz\n"
    refused = pytest.raises(ValueError, match="unknown label ids 6")
    with refused:
        imported(scans, text)
    result = imported(scans, text, labels="1=2,2=4,3=5,4=0,5=1,6=3,7=0")
    assert rows(result, "cartilage") == [["cartilage/1.nii.gz"]]
    written = nib.load(scans / "dest/cartilage/1.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(volume.dataobj))
    np.testing.assert_allclose(written.affine, volume.affine, atol=1e-5)


def test_a_label_map_without_cartilage_is_noted(scans: Path) -> None:
    volume = nib.load(scans / "scans/0071_left_seg.nii.gz")
    nib.save(
        nib.Nifti1Image((np.asarray(volume.dataobj) == 2).astype(np.uint8), volume.affine), scans / "m.nii.gz"
    )
    result = imported(scans, "subject,mri,cartilage\n1,scans/0071_left.nii.gz,m.nii.gz\n")
    [note] = result.report["notes"]
    assert note.startswith(
        "1: m.nii.gz: no cartilage in the label map, only ids 0, 1; expected 0 background, 1 femur"
    )


def test_dicom_folders(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 900, (8, 9, 6)).astype(np.int16)
    write_dicom_series(tmp_path / "p1/a", volume, SeriesDescription="SAG_DESS")
    write_dicom_series(tmp_path / "p2/a", volume, SeriesDescription="SAG_DESS")
    write_dicom_series(tmp_path / "p2/b", volume, SeriesDescription="COR_T1")
    write_dicom_series(tmp_path / "p3", volume, SeriesDescription="SAG_DESS", names="a{}")
    write_dicom_series(tmp_path / "p3", volume + 1, SeriesDescription="COR_T1", names="b{}")
    (tmp_path / "p4").mkdir()
    text = "subject,mri\n1,p1\n2,p2\n3,p3\n4,p4\n"
    result = imported(tmp_path, text)
    assert rows(result, "subject", "mri") == [["1", "../p1/a"]]
    reasons = {item.subject: item.reason for item in result.left_out}
    assert reasons["2"].startswith("p2: expected one DICOM series, choose one with --series; there are ")
    assert "'COR_T1' (6 files)" in reasons["2"]
    assert reasons["4"] == "p4: expected an image or a folder with a DICOM series, found none in it"
    result = imported(tmp_path, text, series="dess$")
    assert rows(result, "subject", "mri") == [["1", "../p1/a"], ["2", "../p2/a"], ["3", "images/3.nii.gz"]]
    assert result.report["written"]["files"] == 1


def test_patterns_never_find_the_destination(scans: Path) -> None:
    text = "subject,name\n71,0071_left\n"
    for _ in range(2):
        result = imported(scans, text, mri="**/{name}.nii.gz", convert=True)
        assert rows(result, "mri") == [["images/71.nii.gz"]]


def test_templates_escape_what_stands_in_cells(tmp_path: Path) -> None:
    (tmp_path / "a[1]*.nii").touch()
    (tmp_path / "a1x.nii").touch()
    template = Template("{name}.nii", tmp_path)
    assert template.find({"name": "a[1]*"}) == tmp_path / "a[1]*.nii"
    with pytest.raises(ValueError, match="there is no file a\\*"):
        template.find({"name": "a*"})
    with pytest.raises(ValueError, match=r"the column 'name', which the path \{name\}.nii needs, is empty"):
        template.find({"name": ""})


def test_ids_are_found_in_names_of_files(tmp_path: Path) -> None:
    for name in ("x/12_a_12.nii", "x/012_b_012.nii", "x/7_c_8.nii", "x/y_c_y.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert Template("[xz]/{ID}_?_{ID}.nii", tmp_path).values("ID") == {"12", "012"}
    assert Template("**/{ID}_{part}_*.nii", tmp_path).values("ID") == {"12", "012", "7"}


def test_a_manifest_can_be_imported_again(scans: Path) -> None:
    first = imported(scans, "subject,mri,age,kl\n1,scans/0071_left.nii.gz,61,2\n", licence="old")
    second = import_table(first.manifest.path, scans / "again", licence="new", progress=False)
    assert rows(second, "knee", "kl", "oa", "age", "mri", "source", "licence") == [
        ["1", 2, 1, 61, "../scans/0071_left.nii.gz", "../scans/0071_left.nii.gz", "new"]
    ]
    with pytest.raises(ValueError, match="columns: 'licence' is written by the import"):
        import_table(first.manifest.path, scans / "again", columns="licence=age", progress=False)


def test_pairs() -> None:
    assert read_pairs("x", {"a": "b"}) == {"a": "b"}
    assert read_ids("x", {1: 2}) == {1: 2}
    assert read_ids("x", "") == {}
    with pytest.raises(ValueError, match="x: 'a' is given twice"):
        read_pairs("x", "a=1,a=2")


def test_real_volumes(shared_data: Path, tmp_path: Path) -> None:
    bones = import_table(shared_data / "oai-bones/manifest.csv", tmp_path / "bones", progress=False)
    assert len(bones.manifest) == 138
    assert bones.report["counts"]["kl"] == {"0": 13, "1": 15, "2": 38, "3": 35, "4": 37}
    assert "gap_p10_mm" in bones.manifest.table
    text = "knee,subject,mri,cartilage,side\n"
    text += "dess,a,dess-volunteer/dess.nii.gz,dess-volunteer/femoral-cartilage.nii.gz,\n"
    text += "fine,a,dess-volunteer/dess.nii.gz,dess-volunteer/femoral-cartilage-fullres.nii.gz,\n"
    text += "mean,b,clair-template/template.nii.gz,clair-template/segmentation.nii.gz,right\n"
    text += "regions,b,clair-template/template.nii.gz,clair-template/atlas.nii.gz,right\n"
    text += "echo,c,mese-volunteer/dicom-te12,,\nmap,d,oai-label-map/right-knee.nrrd,,right\n"
    text += "alone,d,,oai-label-map/right-knee.nrrd,right\n"
    (tmp_path / "real.csv").write_text(text)
    result = import_table(tmp_path / "real.csv", tmp_path / "real", root=shared_data, progress=False)
    assert rows(result, "knee") == [["dess"], ["echo"], ["mean"]]
    assert result.report["notes"][0].startswith(
        "dess: femoral-cartilage.nii.gz: no cartilage in the label map"
    )
    reasons = {item.knee: item.reason for item in result.left_out}
    assert reasons["alone"] == "no path of an image"
    assert "only 11 different values: is it a label map?" in reasons["map"]
    assert "unknown label ids 6, 7" in reasons["regions"]
    assert "mask of another grid" in reasons["fine"]


@pytest.mark.parametrize("destination", [".", "scans", "new"])
def test_the_destination_may_be_the_folder_of_the_scans(scans: Path, destination: str) -> None:
    """Only what an import wrote itself is passed over, even if it is imported again."""
    (scans / "labels.csv").write_text("subject,side,kl\n0071,left,2\n0100,right,3\n")
    for convert in (False, True, True):
        result = import_table(
            scans / "labels.csv", scans / destination, mri="**/{subject}[_-]{side}.nii.gz", convert=convert,
            progress=False,
        )  # fmt: skip
        assert rows(result, "kl") == [[2], [3]]
        assert result.report["written"]["files"] == 2 * convert


def test_a_link_to_itself_is_no_scan(scans: Path) -> None:
    (scans / "scans/loop.nii.gz").symlink_to("loop.nii.gz")
    result = imported(scans, "subject,kl\n0071_left,2\nloop,1\n", mri="scans/{subject}.nii.gz")
    assert rows(result, "subject") == [["0071_left"]]
    assert "loop" in result.left_out[0].reason


def test_axes_that_are_uncertain_are_noted(scans: Path) -> None:
    image = nib.load(scans / "scans/0071_left.nii.gz")
    flipped = nib.Nifti1Image(np.asarray(image.dataobj), image.affine)
    flipped.set_sform(image.affine, 1)
    flipped.set_qform(image.affine @ np.diag([-1.0, 1.0, 1.0, 1.0]), 1)
    nib.save(flipped, scans / "scans/0071_left.nii.gz")
    unset = nib.Nifti1Image(np.asarray(nib.load(scans / "scans/0071_right.nii.gz").dataobj), None)
    nib.save(unset, scans / "scans/0071_right.nii.gz")
    result = imported(
        scans, "subject,side\n0071,left\n0071,right\n0100,right\n", mri="scans/{subject}_{side}.nii.gz"
    )
    notes = [note for note in result.report["notes"] if "pictures" in note]
    assert len(notes) == 2
    assert "0071_left.nii.gz: the two affines of its header disagree: sform PIR" in notes[0]
    assert "qform AIR" in notes[0]
    assert "0071_right.nii.gz: the header does not say how the voxels lie" in notes[1]


def test_one_image_for_two_knees_and_unknown_sides_are_noted(scans: Path) -> None:
    same, other = "scans/0071_left.nii.gz", "scans/0100_right.nii.gz"
    text = f"subject,mri,side\na,{same},left\nb,{same},\nc,{other},\n"
    notes = imported(scans, text, mirror_left=True).report["notes"]
    assert "a-left and b are the same image: is a file named twice, or copied?" in notes
    assert any(note.startswith("the side of b and 1 more is unknown: training") for note in notes)
    assert not any("unknown" in note for note in imported(scans, text).report["notes"])


def test_repaired_images_are_noted_and_insisted_ones_written(scans: Path) -> None:
    """Case 14: a field that names a person is not quoted; case 7: bytes behind the voxels."""
    import SimpleITK as sitk

    for name in ("a.nrrd", "b.mha"):
        sitk.WriteImage(sitk.ReadImage(str(scans / "scans/0071_left.nii.gz")), str(scans / name))
        content = (scans / name).read_bytes()
        mark = b":" if name == "a.nrrd" else b" ="
        lines = b"\nPatientName" + mark + b" INVENTED^NAME" + b"\nPatientName" + mark + b" INVENTED^NAME\n"
        (scans / name).write_bytes(content.replace(b"\n", lines, 1))
    (scans / "c.mha").write_bytes(content + b"\n")
    text = "knee,subject,mri\n1,1,a.nrrd\n2,2,b.mha\n3,3,c.mha\n"
    result = imported(scans, text)
    assert rows(result, "knee", "image_notes") == [
        ["3", "c.mha: 1 bytes that follow its voxels were passed over"]
    ]
    reasons = [item.reason for item in result.left_out]
    assert len(reasons) == 2
    assert all("field 'PatientName' in its header (to read it in spite" in reason for reason in reasons)
    assert "INVENTED" not in (scans / "dest/left-out.csv").read_text()
    result = imported(scans, text, insist="fields")
    assert rows(result, "knee", "mri") == [
        ["1", "images/1.nii.gz"], ["2", "images/2.nii.gz"], ["3", "../c.mha"],
    ]  # fmt: skip
    assert "read although unknown or repeated field 'PatientName'" in rows(result, "image_notes")[0][0]
    with pytest.raises(
        ValueError, match=r"insist: expected some of copies, fields, gaps, .*, got everything"
    ):
        imported(scans, text, insist="everything")
