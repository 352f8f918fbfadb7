"""The clinical command: page, tables, decisions, and the checklists."""

import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from oahier.cli import main
from oahier.clinical import Decisions
from oahier.reporting import evaluate_clinically
from oahier.reporting.checklist import checklist, facts_of_config
from oahier.reporting.clinical_page import clinical_page
from oahier.statistics import parse_predictions, read_predictions
from tests.made_predictions import columns


def table(knees=60, start="", **changes):
    made = columns(knees, **changes)
    return made | {name: [f"{start}{cell}" for cell in made[name]] for name in ("knee", "subject")}


def write(path, content):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(content)
        writer.writerows(zip(*content.values(), strict=True))
    return str(path)


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "test.csv", table(per_subject=2))
    write(tmp_path / "val.csv", table(50, "v", seed=3))
    content = table(per_subject=2)
    for knee in content["knee"]:
        (tmp_path / f"{knee}.nii.gz").touch()
    manifest = {
        "knee": content["knee"], "subject": content["subject"], "kl": content["label_kl"],
        "mri": [f"{knee}.nii.gz" for knee in content["knee"]], "side": ["left", "right"] * 30,
        "age": list(range(40, 100)), "vendor": ["one"] * 60,
        "severity": [knee / 60 for knee in range(60)], "true_kl": content["label_kl"],
        "kl_2": content["label_kl"],
        "source": ["one.zip", "two.zip", "three.zip"] * 20, "source_hash": ["0a1b", "2c3d"] * 30,
    }  # fmt: skip
    write(tmp_path / "knees.csv", manifest)
    return tmp_path


def test_command_writes_page_tables_and_decisions(folder, capsys):
    words = [
        "clinical",
        str(folder / "test.csv"),
        "--validation",
        str(folder / "val.csv"),
        "--resamples",
        "20",
    ]
    words += ["--manifest", str(folder / "knees.csv"), "--out", str(folder / "out")]
    assert main(words) == 0
    assert "recalibrated: oa: temperature" in capsys.readouterr().out
    out = folder / "out"
    calibration = rows(out / "calibration.csv")
    assert [row["event"] for row in calibration[::2]] == ["OA", *(f"KL {k} or more" for k in range(1, 5))]
    assert {row["probabilities"] for row in calibration} == {"as predicted", "recalibrated"}
    assert {row["subjects"] for row in calibration} == {"30"}
    found = rows(out / "subgroups.csv")
    assert {row["covariate"] for row in found} == {"side", "age"}
    assert len(rows(out / "decision_curves.csv")) == 99 * len(calibration)
    page = (out / "index.html").read_text()
    HTMLParser().feed(page)
    assert "vendor (one value)" in page
    assert page.count("<svg") == 10
    assert "http" not in page.replace("http://www.w3.org", "")
    decisions = Decisions.read(out / "decisions.json")
    assert set(decisions.heads) == {"oa", "kl"}
    again = evaluate_clinically(read_predictions(folder / "test.csv"), decisions=decisions, resamples=0)
    slopes = [one.calibration.slope.value for one in again.results]
    assert slopes == pytest.approx([float(row["slope"]) for row in calibration])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--validation", "test.csv"], "were fitted on 30 of its 30 subjects"),
        (["--validation", "val.csv", "--decisions", "x.json"], "expected one of them, got both"),
        (["--manifest", "knees.csv", "--covariates", "weight"], "expected columns of the manifest"),
        (["--covariates", "sex"], "--covariates: are columns of --manifest FILE, which is not given"),
        (["--calibrator", "isotonic"], "--calibrator: fits on the knees of --validation FILE"),
        (["--decisions", "x.json", "--threshold", "youden"], "--threshold: fits on the knees of"),
        (["--specificity", "2"], "expected a share above 0, at most 1, got 2.0"),
    ],
)
def test_errors_are_one_line(folder, monkeypatch, capsys, words, said):
    monkeypatch.chdir(folder)
    assert main(["clinical", "test.csv", *words]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_equal_and_perfect_predictions_and_one_class_have_a_page(tmp_path):
    labels = [0, 1] * 20
    for name, content in {
        "equal": {"label_oa": labels, "prob_oa": [0.4] * 40},
        "perfect": {"label_oa": labels, "prob_oa": labels},
        "one": {"label_oa": [1] * 40, "prob_oa": np.linspace(0, 1, 40).tolist()},
    }.items():
        path = write(tmp_path / f"{name}.csv", {"knee": [f"k{i}" for i in range(40)], **content})
        assert main(["clinical", path, "--resamples", "10", "--out", str(tmp_path / name)]) == 0
        (row,) = rows(tmp_path / name / "calibration.csv")
        assert row["slope"] == ""
        assert row["note"]
        assert "no column subject" in (tmp_path / name / "index.html").read_text()


def test_no_labelled_knee_is_refused():
    predictions = parse_predictions({"knee": ["a"], "label_oa": [""], "prob_oa": [0.3]})
    with pytest.raises(ValueError, match="expected labelled knees of some head, got none"):
        evaluate_clinically(predictions)


def test_checklist_names_what_is_found_and_what_is_missing():
    manifest = pd.DataFrame(
        {"knee": ["a", "b", "c"], "subject": ["1", "2", "3"], "split": ["train", "val", "test"],
         "age": [50.0, 60.0, np.nan], "sex": ["f", "m", "f"]}
    )  # fmt: skip
    config = {
        "seed_everything": 3,
        "trainer": {"max_epochs": 5, "callbacks": [{"class_path": "oahier.callbacks.BestCheckpoint"}]},
        "model": {
            "encoder": {"class_path": "oahier.ResNet3D"},
            "heads": {"kl": {"class_path": "oahier.SoftmaxHead"}},
            "optimizer": {"class_path": "torch.optim.AdamW"},
        },
        "data": {"shape": [8, 8, 8], "batch_size": 4},
    }  # fmt: skip
    items = {
        (item.guideline, item.number): item
        for item in checklist(None, manifest, facts=facts_of_config(config))
    }
    assert sum(guideline == "CLAIM 2024" for guideline, _ in items) == 44
    assert {number.rstrip("abcdefg") for guideline, number in items if guideline == "TRIPOD+AI"} == {
        str(number) for number in range(1, 28)
    }
    assert items["CLAIM 2024", "20"].found == "splits share no subject"
    assert items["CLAIM 2024", "26"].found == "epoch with the maximum of val/kl/qwk on validation knees"
    assert items["CLAIM 2024", "24"].found == "random, seed 3"
    assert "age mean 55.0" in items["CLAIM 2024", "36"].found
    assert items["CLAIM 2024", "12"].found == "empty cells: age 1"
    assert items["CLAIM 2024", "34"].missing == "give the number"
    assert all(bool(item.found) != bool(item.missing) for item in items.values())
    manifest["subject"] = "1"
    shared = {item.number: item for item in checklist(None, manifest) if item.guideline == "CLAIM 2024"}
    assert shared["20"].missing, "a subject in three splits"


def test_size_command(tmp_path, capsys):
    assert main(["study", "size", "--error-sd", "0.05", "--at", "98", "--difference", "0.1"]) == 0
    shown = capsys.readouterr().out
    assert "these trained models" in shown
    assert "unknown" in shown
    assert "state --seed-sd" in shown
    for seed in range(2):
        for arm in "ab":
            changes = {"noise": 1.5 if arm == "b" else 1.2, "seed": seed + 10 * (arm == "b")}
            write(tmp_path / f"{arm}{seed}.csv", table(80, **changes))
    words = ["study", "size", str(tmp_path / "a*.csv"), str(tmp_path / "b*.csv"), "--difference", "0.1"]
    assert main(words) == 0
    assert "kl qwk from a pilot of 80 knees, 2 and 2 seeds" in capsys.readouterr().out
    assert main(["study", "size", "--difference", "0.1"]) == 2
    assert main([*words[:-1], "1.5"]) == 2
    assert "--difference: expected a number above 0 and below 1" in capsys.readouterr().err
    assert main([*words, "--metric", "nonsense"]) == 2
    assert json.dumps("no labelled head of both arms has it")[1:-1] in capsys.readouterr().err


def test_names_of_single_knees_are_no_covariates(folder):
    content = table(9)
    manifest = pd.DataFrame({
        "knee": content["knee"], "side": ["left", "right", "left"] * 3, "scan_code": list("abcdefghi"),
    })  # fmt: skip
    write(folder / "few.csv", content)
    report = evaluate_clinically(read_predictions(folder / "few.csv"), manifest=manifest, resamples=0)
    assert {line.covariate for line in report.subgroups} == {"side"}
    assert report.left_out == ["scan_code (another text for every knee)"]


def test_no_line_of_the_page_breaks_inside_an_interval(folder):
    report = evaluate_clinically(read_predictions(folder / "test.csv"), resamples=20)
    page = clinical_page(report)
    assert re.search(r"<td>0\.\d\d \[0\.\d\d,\u00a00\.\d\d\]</td>", page)
    assert not re.search(r"<td>[^<]*\[[^<]*, [^<]*\]</td>", page)


def test_checklist_of_a_change_model_says_that_it_takes_two_visits():
    model = {
        "encoder": {"class_path": "oahier.ResNet3D"},
        "heads": {"change": {"class_path": "h.ChangeHead"}},
    }
    data = {"class_path": "oahier.data.VisitPairsDataModule", "init_args": {"shape": [8, 8, 8]}}
    named = {"model": {"class_path": "oahier.model.ChangeModel", "init_args": model}, "data": data}
    flattened = {"model": model, "data": data["init_args"], "classes": {"data": data["class_path"]}}
    for config in (named, flattened):
        facts = facts_of_config(config)
        assert facts["model"].startswith("ResNet3D from the MRI volumes of two visits of a knee; heads: ")
        assert facts["preprocessing"] == "reoriented to RAS+, [8, 8, 8] voxels, z-scored"
    other = facts_of_config({**flattened, "classes": {"data": "mine.Volumes"}})
    assert other["model"].startswith("ResNet3D from MRI volumes; heads: ")
    assert facts_of_config({"model": model})["model"].startswith("ResNet3D from one MRI volume; ")
