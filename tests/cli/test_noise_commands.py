"""``oahier data readings`` and ``oahier data doubt`` through their front door."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from oahier.cli import main
from oahier.data import read_manifest
from oahier.phantom import make_phantoms
from oahier.phantom.readers import BLOCK_NOISE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two hundred knees with three readings, of which four have a volume to look at."""
    folder = tmp_path_factory.mktemp("readings")
    made = make_phantoms(folder, knees=4, shape=(16, 24, 24)).table
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 200)
    readings = np.array([[rng.choice(5, p=np.array(BLOCK_NOISE)[t]) for _ in range(3)] for t in truth])
    table = pd.DataFrame(
        {
            "knee": [f"k{number:03d}" for number in range(200)],
            "subject": [f"s{number // 2:03d}" for number in range(200)],
            "mri": [made["mri"].iloc[number % 4] for number in range(200)],
            "kl": readings[:, 0], "kl_2": readings[:, 1], "kl_3": readings[:, 2], "true_kl": truth,
            "split": ["train"] * 160 + ["val"] * 20 + ["test"] * 20,
        }
    )  # fmt: skip
    table.to_csv(folder / "readers.csv", index=False)
    p = np.exp(-np.abs(np.arange(5) - (truth + rng.normal(size=200) * 0.7)[:, None]))
    p /= p.sum(axis=1, keepdims=True)
    predicted = pd.DataFrame({"knee": table["knee"], "subject": table["subject"], "label_kl": table["kl"]})
    for grade in range(5):
        predicted[f"prob_kl_{grade}"] = p[:, grade]
    for fold in range(4):
        predicted[:160][np.arange(160) % 4 == fold].to_csv(folder / f"fold-{fold}.csv", index=False)
    predicted.to_csv(folder / "all.csv", index=False)
    return folder


def test_readings_are_compared_and_joined(folder, tmp_path, capsys):
    words = ["data", "readings", str(folder / "readers.csv"), "--columns=kl,kl_2,kl_3", "--adjudicated"]
    words += ["--resamples=20", f"--out={tmp_path / 'out.csv'}", f"--table={tmp_path / 'matrices.csv'}"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "kl, kl_2" in text
    assert "kl_3: truth" in text
    assert "do not identify" not in text
    manifest = read_manifest(tmp_path / "out.csv")
    truth = manifest.labels("true_kl")
    assert (manifest.labels("kl_consensus") == truth).mean() > (manifest.labels("kl") == truth).mean()
    expected = manifest.labels("expected_kl")
    assert expected.dtype == np.float32
    posterior = np.column_stack([manifest.labels(f"posterior_kl_{grade}") for grade in range(5)])
    np.testing.assert_allclose(posterior @ np.arange(5), expected, atol=1e-3)
    matrices = pd.read_csv(tmp_path / "matrices.csv")
    assert len(matrices) == 75
    assert matrices.groupby(["reader", "truth"])["probability"].sum().to_numpy() == pytest.approx(1.0)
    assert (matrices["ci_low"] <= matrices["ci_high"]).all()


def test_matrices_do_not_depend_on_test_readings(folder, tmp_path, capsys):
    table = pd.read_csv(folder / "readers.csv", dtype=str)
    table.loc[table["split"] != "train", ["kl_2", "kl_3"]] = "4"
    table["mri"] = [str(folder / path) for path in table["mri"]]
    table.to_csv(tmp_path / "other.csv", index=False)
    found = []
    for path in (folder / "readers.csv", tmp_path / "other.csv"):
        words = ["data", "readings", str(path), "--columns=kl,kl_2,kl_3", "--resamples=2"]
        assert main([*words, f"--table={tmp_path / 'matrices.csv'}"]) == 0
        found.append((tmp_path / "matrices.csv").read_text())
    assert found[0] == found[1]
    capsys.readouterr()


def test_two_readings_are_told_not_to_be_enough(folder, capsys):
    assert main(["data", "readings", str(folder / "readers.csv"), "--resamples=2"]) == 0
    assert "2 readings do not identify the matrices" in capsys.readouterr().out
    words = ["data", "readings", str(folder / "readers.csv"), "--resamples=2", "--truth=true_kl"]
    assert main(words) == 0
    assert "do not identify" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--columns=kl"], "name a second column of readings or one of the truth"),
        (["--columns=kl,oa"], "expected readings of one level, such as kl,kl_2, got kl,oa"),
        (["--columns=kl,kl"], "expected readings of one level"),
        (["--columns=kl,kl_9"], "missing target column 'kl_9'"),
        (["--columns=oa,oa", "--adjudicated"], "expected readings of one level"),
        (["--smoothing=0"], "--smoothing: expected a number above 0"),
    ],
)
def test_bad_readings_are_one_line(folder, capsys, words, message):
    assert main(["data", "readings", str(folder / "readers.csv"), *words]) == 2
    assert message in capsys.readouterr().err


def folds(folder):
    return [str(folder / f"fold-{fold}.csv") for fold in range(4)]


def test_doubtful_labels_are_listed_with_their_figures(folder, tmp_path, capsys):
    words = ["data", "doubt", str(folder / "readers.csv"), *folds(folder), f"--out={tmp_path / 'doubt.csv'}"]
    assert main([*words, f"--html={tmp_path / 'doubt.html'}", "--figures=3"]) == 0
    text = capsys.readouterr().out
    assert "160 training labels" in text
    assert "left out" not in text
    table = pd.read_csv(tmp_path / "doubt.csv")
    assert len(table) == 160
    assert table["doubt"].is_monotonic_decreasing
    readers = pd.read_csv(folder / "readers.csv").set_index("knee")
    wrong = (table["label"] != readers.loc[table["knee"], "true_kl"].to_numpy()).to_numpy()
    assert wrong[:16].mean() > 2 * wrong.mean()
    assert table["row"].iloc[0] == readers.index.get_loc(table["knee"].iloc[0]) + 2
    page = (tmp_path / "doubt.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 3
    assert all(knee in page for knee in table["knee"].head(3))
    assert main(["data", "doubt", str(folder / "readers.csv"), *folds(folder)[:3]]) == 0
    assert "40 training labels have no prediction and are left out" in capsys.readouterr().out


def test_a_folder_of_runs_and_a_quoted_pattern_are_all_their_files(folder, tmp_path, capsys):
    for fold in range(4):
        (run := tmp_path / f"fold-{fold}").mkdir()
        (run / "predictions.csv").write_bytes((folder / f"fold-{fold}.csv").read_bytes())
    found = []
    for words in (folds(folder), [str(tmp_path)], [str(tmp_path / "fold-*" / "predictions.csv")]):
        words = ["data", "doubt", str(folder / "readers.csv"), *words]
        assert main([*words, f"--out={tmp_path / 'doubt.csv'}"]) == 0
        found.append((tmp_path / "doubt.csv").read_text())
    assert found[0] == found[1] == found[2]
    capsys.readouterr()
    for nothing in (tmp_path / "fold-*" / "other.csv", folder / "mri"):
        assert main(["data", "doubt", str(folder / "readers.csv"), str(nothing)]) == 2
        assert "expected files predictions.csv" in capsys.readouterr().err


def test_models_that_know_nothing_are_told(folder, tmp_path, capsys):
    words = [f"--html={tmp_path / 'doubt.html'}", "--figures=1"]
    assert main(["data", "doubt", str(folder / "readers.csv"), *folds(folder), *words]) == 0
    assert "may know nothing" not in capsys.readouterr().out
    assert "Out-of-fold QWK" in (tmp_path / "doubt.html").read_text()
    table = pd.read_csv(folder / "all.csv")[:160]
    grades = [f"prob_kl_{grade}" for grade in range(5)]
    chance = np.random.default_rng(1).permutation(table[grades].to_numpy())
    for p in (chance, [0.0, 0.0, 1.0, 0.0, 0.0]):
        table[grades] = p
        table.to_csv(tmp_path / "nothing.csv", index=False)
        assert (
            main(["data", "doubt", str(folder / "readers.csv"), str(tmp_path / "nothing.csv"), *words]) == 0
        )
        assert "may know nothing of these labels" in capsys.readouterr().out
        assert "may know nothing of these labels" in (tmp_path / "doubt.html").read_text()


def test_headings_of_doubtful_knees_have_the_style_of_their_card(folder, tmp_path, capsys):
    words = ["data", "doubt", str(folder / "readers.csv"), *folds(folder), "--figures=1"]
    assert main([*words, f"--html={tmp_path / 'doubt.html'}"]) == 0
    capsys.readouterr()
    page = (tmp_path / "doubt.html").read_text()
    style, card = page.partition("</style>")[0], page.partition("<article")[2].partition("</article>")[0]
    used = set(re.findall(r"<(h\d|p|img|ul)\b", card))
    assert used >= {"p", "img"}
    assert all(f".card {tag}" in style for tag in used), used


def test_embeddings_are_taken_instead(folder, tmp_path, capsys):
    readers = pd.read_csv(folder / "readers.csv")[:160]
    rng = np.random.default_rng(0)
    embedding = readers[["true_kl"]].to_numpy() + rng.normal(size=(160, 6))
    np.savez(tmp_path / "embeddings.npz", knee=readers["knee"].to_numpy(str), embedding=embedding)
    words = ["data", "doubt", str(folder / "readers.csv"), f"--embeddings={tmp_path / 'embeddings.npz'}"]
    assert main([*words, f"--out={tmp_path / 'doubt.csv'}"]) == 0
    table = pd.read_csv(tmp_path / "doubt.csv").set_index("knee")
    wrong = readers.set_index("knee").loc[table.index, "true_kl"] != table["label"]
    assert table["doubt"][wrong].mean() > table["doubt"][~wrong].mean()
    capsys.readouterr()


def test_labels_of_validation_and_test_are_not_touched(folder, tmp_path, capsys):
    assert main(["data", "doubt", str(folder / "readers.csv"), str(folder / "all.csv")]) == 2
    said = capsys.readouterr().err
    assert "40 of the knees are for test and val, such as 'k160'" in said
    assert "cross-validate within the training knees" in said
    table = pd.read_csv(folder / "readers.csv", dtype=str).drop(columns="split")
    table["mri"] = [str(folder / path) for path in table["mri"]]
    table.to_csv(tmp_path / "unsplit.csv", index=False)
    assert main(["data", "doubt", str(tmp_path / "unsplit.csv"), *folds(folder)]) == 2
    assert "has no splits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected prediction files or --embeddings"),
        (["{folder}/fold-0.csv", "--head=oa"], "expected a head 'oa' (--head), got kl"),
        (["{folder}/fold-0.csv", "--target=jsw"], "expected a level or a reading of one"),
        (["{folder}/fold-0.csv", "--figures=0"], "--figures: expected 1 or more"),
    ],
)
def test_bad_options_are_one_line(folder, capsys, words, message):
    words = [word.format(folder=folder) for word in words]
    assert main(["data", "doubt", str(folder / "readers.csv"), *words]) == 2
    assert message in capsys.readouterr().err
