import json

import nibabel
import numpy as np
import pytest

from oahier.audit import check_manifest
from oahier.data import read_manifest
from oahier.phantom import generate, make_phantoms

TINY = {"shape": (8, 12, 12), "progress": False}
UNIFORM = [[0.2] * 5] * 5


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.nii.gz"))}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    return make_phantoms(folder, 20, knees_per_subject=2, visits=2, shape=(12, 18, 18), progress=False)


def test_manifest_is_complete_and_sound(made):
    table = made.table
    assert len(table) == 40
    assert {"severity", "true_kl"} <= set(table.columns)
    kinds = {problem.kind for problem in check_manifest(made.path)}
    assert kinds <= {"splits"}, "ten subjects cannot show every grade in every part; nothing else is wrong"
    assert set(table["side"]) == {"left", "right"}
    assert set(table["visit"]) == {"V00", "V01"}
    assert table.groupby("visit")["month"].unique().explode().to_dict() == {"V00": 0, "V01": 12}
    assert (table.groupby("subject")["rate"].nunique() == 1).all()
    wide = table.pivot(index=["subject", "side"], columns="visit", values="severity")
    rate = table.groupby(["subject", "side"])["rate"].first()
    assert np.allclose(wide["V01"], (wide["V00"] + rate).clip(upper=1), atol=2e-6)
    assert table["knee"].is_unique
    true_kl, severity = table["true_kl"].astype(int), table["severity"].astype(float)
    assert ((severity * 5).astype(int).clip(upper=4) == true_kl).all()
    assert ((table["kl"] >= 2) == (true_kl >= 2)).all()
    assert (table["oa"] == (table["kl"] >= 2)).all()


def test_splits_keep_subjects_together(made):
    assert (made.table.groupby("subject")["split"].nunique() == 1).all()
    counts = made.table.groupby("split")["subject"].nunique()
    assert counts.to_dict() == {"train": 6, "val": 2, "test": 2}


def test_files_carry_the_geometry(made):
    row = made.table.iloc[0]
    mri, labels = (nibabel.load(made.root / row[column]) for column in ("mri", "cartilage"))
    assert nibabel.aff2axcodes(mri.affine) == ("R", "A", "S")
    assert np.array_equal(mri.affine, labels.affine)
    assert np.allclose(mri.header.get_zooms(), (112 / 12, 128 / 18, 128 / 18), atol=1e-3)
    assert mri.get_data_dtype() == np.int16
    assert labels.get_data_dtype() == np.uint8
    assert mri.header.get_xyzt_units()[0] == "mm"
    knee = generate.PhantomPlan(knees=20, knees_per_subject=2, visits=2, shape=(12, 18, 18)).scans()[0]
    assert knee.knee == row["knee"]
    again = generate.phantom_knee(
        knee.severity, shape=(12, 18, 18), side=knee.side, anatomy=knee.anatomy, scan=knee.scan
    )
    assert np.abs(np.asarray(mri.dataobj) - again.mri).max() <= 0.5
    assert np.array_equal(np.asarray(labels.dataobj), again.label_map)


def test_a_larger_set_begins_with_the_smaller_one(tmp_path):
    make_phantoms(tmp_path / "few", 3, **TINY)
    make_phantoms(tmp_path / "many", 6, **TINY)
    few, many = contents(tmp_path / "few"), contents(tmp_path / "many")
    assert len(many) == 6
    assert all(many[name] == content for name, content in few.items())


def test_seed_changes_the_knees(tmp_path):
    for seed in (0, 1):
        make_phantoms(tmp_path / str(seed), 2, val=0.0, test=0.0, seed=seed, **TINY)
    assert contents(tmp_path / "0") != contents(tmp_path / "1")


def test_only_missing_knees_are_made_again(tmp_path, monkeypatch):
    first = make_phantoms(tmp_path, 5, **TINY)
    before = contents(tmp_path)
    (first.root / first.table["mri"].iloc[2]).unlink()
    severities = []
    original = generate.phantom_knee
    monkeypatch.setattr(
        generate,
        "phantom_knee",
        lambda severity, **rest: severities.append(severity) or original(severity, **rest),
    )
    again = make_phantoms(tmp_path, 5, **TINY)
    assert severities == [float(first.table["severity"].iloc[2])]
    assert contents(tmp_path) == before
    assert again.table.equals(first.table)


def test_an_interrupted_run_leaves_whole_files_and_goes_on(tmp_path, monkeypatch):
    calls = []
    original = generate.phantom_knee

    def interrupted(severity, **rest):
        calls.append(severity)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(severity, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(generate, "phantom_knee", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_phantoms(tmp_path, 5, **TINY)
    assert not (tmp_path / "manifest.csv").exists()
    assert len(list((tmp_path / "mri").iterdir())) == 2
    assert len(read_manifest(make_phantoms(tmp_path, 5, **TINY).path)) == 5
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_keeps_its_parameters(tmp_path):
    make_phantoms(tmp_path, 3, **TINY)
    with pytest.raises(
        FileExistsError, match=r"other parameters: knees 3 \(asked for: 4\), seed 0 \(asked for: 1\)"
    ):
        make_phantoms(tmp_path, 4, seed=1, **TINY)
    # the default spacing, written out, is the same parameter
    make_phantoms(tmp_path, 3, spacing=(14.0, 10.6667, 10.6667), **TINY)


def test_a_foreign_or_damaged_folder_is_left_alone(tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "manifest.csv").write_text("knee,subject,mri\n")
    with pytest.raises(FileExistsError, match=r"a manifest without phantoms\.json; choose another folder"):
        make_phantoms(foreign, 3, **TINY)
    assert (foreign / "manifest.csv").read_text() == "knee,subject,mri\n"
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for text in ("{", "[1]"):
        (damaged / "phantoms.json").write_text(text)
        with pytest.raises(FileExistsError, match="delete the folder and make it again"):
            make_phantoms(damaged, 3, **TINY)


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="taken"):
        make_phantoms(tmp_path / "taken", 3, **TINY)


def test_oa_follows_the_observed_grade_of_any_reader(tmp_path):
    manifest = make_phantoms(tmp_path, 30, reader_noise=UNIFORM, shape=(4, 4, 4), progress=False)
    table = manifest.table
    assert (table["oa"] == (table["kl"] >= 2)).all()
    assert (table["kl"] != table["true_kl"].astype(int)).sum() > 10


def test_a_sure_reader_writes_the_true_grade(tmp_path):
    for noise in ("none", None):
        manifest = make_phantoms(tmp_path, 10, reader_noise=noise, oa_from="true", **TINY)
        assert (manifest.table["kl"] == manifest.table["true_kl"].astype(int)).all()


def test_the_record_is_readable(tmp_path):
    make_phantoms(tmp_path, 3, **TINY)
    record = json.loads((tmp_path / "phantoms.json").read_text())
    assert not {"interval", "rate", "causes"} & set(record), "folders of single visits stay as they were"
    assert record["knees"] == 3
    assert record["shape"] == [8, 12, 12]


def test_progress_bar_shows_only_when_wanted(tmp_path, capsys, monkeypatch):
    for terminal, wanted in ((False, True), (True, False), (True, True)):
        if terminal:
            monkeypatch.setenv("TTY_COMPATIBLE", "1")
        make_phantoms(tmp_path, 3, **{**TINY, "progress": wanted})
        printed = capsys.readouterr()
        assert printed.out == ""
        assert ("Phantom knees" in printed.err) == (terminal and wanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"knees": 0}, "knees: expected a whole number from 1 to 9999, got 0"),
        ({"visits": 0}, "visits: expected"),
        ({"interval": 0}, "interval: expected a whole number from 1 to 120, got 0"),
        ({"rate": -0.1}, "rate: expected a mean severity a year from 0 to 1, got -0.1"),
        ({"knees_per_subject": 3}, "knees_per_subject: expected a whole number from 1 to 2, got 3"),
        ({"seed": -1}, "seed: expected 0 or more"),
        ({"shape": (0, 8, 8)}, "shape: expected three axes"),
        ({"spacing": (1.0, -1.0, 1.0)}, "spacing: expected"),
        ({"val": 0.6, "test": 0.4}, "split fractions"),
        ({"grade_weights": (0.0, 0.0, 0.0, 0.0, 0.0)}, "grade_weights: expected 5 weights"),
        ({"reader_noise": UNIFORM, "oa_from": "true"}, "oa_from='true': reader_noise moves knees across"),
        ({"reader_noise": [[1.0]]}, "reader_noise: expected a 5 x 5 matrix"),
        ({"knees": 2}, "at least 3 subjects"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, arguments, message):
    folder = tmp_path / "new"
    with pytest.raises(ValueError, match=message):
        make_phantoms(folder, **{"knees": 6, "progress": False, **arguments})
    assert not folder.exists()
