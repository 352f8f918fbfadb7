"""From scans to tables, overlays and pages: what is written, what is computed again, what is left out."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from miniature.bright import blob, write_bright_checkpoint, write_nifti

import oahier as oh
from oahier.callbacks import GradeDecoding
from oahier.cli import main
from oahier.data import ManifestError
from oahier.latent.training_knees import EmbeddingReference
from oahier.metrics import MostProbable, QuadraticCost
from oahier.model.checkpoints import CheckpointError
from oahier.prediction import load_trained, predict_scans
from oahier.prediction.trained import reference_path

SHAPE = (14, 16, 18)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
NETWORK = {"shape": (12, 16, 16), "spacing": (2.0, 2.0, 2.0)}


def a_reference(shift: float = 0.0) -> EmbeddingReference:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(90, 1, generator=generator) + shift
    grades = ((values[:60, 0] - shift) + 2).round().long().clamp(0, 4)
    return EmbeddingReference.fit(values[:60], grades, (grades >= 2).long(), values[60:], kind="centroid")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_bright_checkpoint(tmp_path / "model.ckpt", reference=a_reference(), **NETWORK)


def scan(path: Path, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    values = blob(SHAPE, AFFINE, (4, 5, 6), width=5) + generator.integers(0, 60, SHAPE).astype(np.int16)
    return write_nifti(path, values, AFFINE)


def test_files_and_columns(checkpoint: Path, tmp_path: Path) -> None:
    paths = [scan(tmp_path / "one.nii.gz"), scan(tmp_path / "two.nii.gz", seed=1)]
    result = predict_scans(checkpoint, paths, tmp_path / "out", side="left")
    assert (result.computed, result.left_out, result.without_reference) == (2, [], "")
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    expected = [
        "knee", "subject", "side", "source", "label_kl", "label_oa", "prob_oa",
        *(f"prob_kl_{grade}" for grade in range(5)), "pred_kl", "severity_kl", "pred_oa", "decoding_kl",
        "axis", "axis_percentile", "axis_nearest_grade", "neighbour_grades",
        "ood_distance", "ood_p", "ood_level", "ood_flag", "outside_share",
        "peak_right_mm", "peak_anterior_mm", "peak_superior_mm", "warnings",
    ]  # fmt: skip
    assert list(table.columns) == expected
    assert list(table["knee"]) == ["one", "two"]
    np.testing.assert_allclose(table[[f"prob_kl_{k}" for k in range(5)]].sum(axis=1), 1, atol=1e-6)
    stored = np.load(tmp_path / "out" / "embeddings.npz", allow_pickle=False)
    assert stored["knee"].tolist() == ["one", "two"]
    assert stored["embedding"].shape == (2, 1)
    found = {
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert found == {
        "predictions.csv", "left-out.csv", "embeddings.npz", "index.html",
        *(f"{folder}/{knee}.{end}" for knee in ("one", "two") for folder, end in (
            ("overlays", "nii.gz"), ("pictures", "png"), ("pages", "html"), ("records", "json"))),
    }  # fmt: skip


def test_grades_have_the_rule_of_the_training(checkpoint: Path, tmp_path: Path) -> None:
    """As in the test of the run; another one where it is asked for."""
    content = torch.load(checkpoint, weights_only=True)
    content["callbacks"]["GradeDecoding"] = GradeDecoding(
        QuadraticCost(0.6, [5.0, 4.0, 3.0, 2.0, 1.0])
    ).state_dict()
    torch.save(content, checkpoint)
    found = {}
    for name, rule in (("trained", None), ("asked", MostProbable())):
        options = {"pages": False, "overlays": False, "decoding": rule}
        table = predict_scans(checkpoint, scan(tmp_path / "one.nii.gz"), tmp_path / name, **options).table
        p = table[[f"prob_kl_{grade}" for grade in range(5)]].to_numpy(float)
        used = rule or QuadraticCost(0.6, [5.0, 4.0, 3.0, 2.0, 1.0])
        assert table["pred_kl"].tolist() == used.decide(p).tolist()
        assert table["decoding_kl"].tolist() == [used.name]
        found[name] = table.loc[0, "pred_kl"]
    assert found["trained"] != found["asked"]

    content["callbacks"]["GradeDecoding"]["decoding"] = {"class_path": "os.system", "init_args": {}}
    torch.save(content, checkpoint)
    with pytest.raises(CheckpointError, match="rule of the grade"):
        load_trained(checkpoint)


def test_predictions_are_those_of_the_model_on_what_the_data_module_delivers(
    checkpoint: Path, tmp_path: Path
) -> None:
    """One way from scan to volume: the same grades as through the data module and the model."""
    rows = [["knee", "subject", "mri", "kl"]]
    for index in range(3):
        scan(tmp_path / f"k{index}.nii.gz", seed=index)
        rows.append([f"k{index}", f"s{index}", f"k{index}.nii.gz", str(index)])
    with (tmp_path / "knees.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    table = predict_scans(checkpoint, tmp_path / "knees.csv", tmp_path / "out", pages=False).table
    assert table["label_kl"].tolist() == [0, 1, 2]
    assert table["label_oa"].tolist() == [0, 0, 1]
    assert table["subject"].tolist() == ["s0", "s1", "s2"]
    data = oh.KneeMRIDataModule(tmp_path / "knees.csv", batch_size=3, cache=tmp_path / "cache", **NETWORK)
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    model = oh.HierarchicalClassifier.load_from_checkpoint(checkpoint).eval()
    with torch.no_grad():
        output = model.predict_step(batch, 0)
    np.testing.assert_allclose(table["severity_kl"], output["severity"]["kl"], atol=1e-6)
    np.testing.assert_allclose(table["prob_oa"], output["probabilities"]["oa"][:, 1], atol=1e-6)
    embedding = np.load(tmp_path / "out" / "embeddings.npz")["embedding"]
    np.testing.assert_allclose(embedding, output["embedding"], atol=1e-6)


def test_finished_knees_are_not_computed_again(checkpoint: Path, tmp_path: Path) -> None:
    paths = [scan(tmp_path / "one.nii.gz"), scan(tmp_path / "two.nii.gz", seed=1)]
    out = tmp_path / "out"

    def run(**options: object) -> int:
        return predict_scans(checkpoint, paths, out, **{"pages": False, **options}).computed

    assert run() == 2
    assert run(pages=True) == 2
    assert run(pages=True) == 0
    assert run() == 2
    before = {path: path.stat().st_mtime_ns for path in (out / "overlays").iterdir()}
    table = (out / "predictions.csv").read_text()
    assert run() == 0
    assert (out / "predictions.csv").read_text() == table
    assert {path: path.stat().st_mtime_ns for path in (out / "overlays").iterdir()} == before
    scan(tmp_path / "two.nii.gz", seed=2)
    assert run() == 1, "the content of a scan changed"
    assert (out / "predictions.csv").read_text() != table
    (out / "overlays" / "one.nii.gz").unlink()
    assert run() == 1, "a file is gone"
    (out / "records" / "one.json").write_text('{"key": ')
    assert run() == 1, "a record is damaged"
    assert run(side="left") == 2, "another side"
    assert run(side="left", method="smoothgrad") == 2, "another option"
    write_bright_checkpoint(checkpoint, reference=a_reference(0.5), **NETWORK)
    assert run(side="left", method="smoothgrad") == 2, "another checkpoint"


def test_what_cannot_be_read_is_left_out_and_the_rest_predicted(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = scan(tmp_path / "good.nii.gz")
    (tmp_path / "cut.nii.gz").write_bytes(good.read_bytes()[:-200])
    write_nifti(tmp_path / "flat.nii.gz", np.full(SHAPE, 7, dtype=np.int16), AFFINE)
    write_nifti(tmp_path / "nan.nii.gz", np.full(SHAPE, np.nan, dtype=np.float32), AFFINE)
    (tmp_path / "word.nii.gz").write_bytes(b"not an image")
    bad = [str(tmp_path / f"{name}.nii.gz") for name in ("cut", "flat", "nan", "word", "absent")]
    out = str(tmp_path / "out")
    assert main(["predict", str(checkpoint), *bad, str(good), "--output", out]) == 1
    printed = capsys.readouterr().out
    left_out = pd.read_csv(tmp_path / "out" / "left-out.csv").set_index("source")["reason"]
    assert set(left_out.index) == set(bad)
    for path, words in zip(bad, ("truncated", "constant", "finite", "NIfTI", "no such file"), strict=True):
        assert words in left_out[path], left_out[path]
        assert f"left out: {path}" in printed
    assert pd.read_csv(tmp_path / "out" / "predictions.csv")["knee"].tolist() == ["good"]
    assert "Traceback" not in printed
    assert main(["predict", str(checkpoint), *bad, "--output", str(tmp_path / "none")]) == 2


def test_workers_give_the_same_files(checkpoint: Path, tmp_path: Path) -> None:
    paths = [scan(tmp_path / f"k{index}.nii.gz", seed=index) for index in range(3)]
    alone = predict_scans(checkpoint, paths, tmp_path / "a", pages=False).table
    ahead = predict_scans(checkpoint, paths, tmp_path / "b", pages=False, workers=1).table
    pd.testing.assert_frame_equal(alone, ahead)


def test_random_states_are_left_alone(checkpoint: Path, tmp_path: Path) -> None:
    path = scan(tmp_path / "one.nii.gz")
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    predict_scans(checkpoint, path, tmp_path / "out", method="smoothgrad")
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_mirrored_models_need_the_side(tmp_path: Path) -> None:
    checkpoint = write_bright_checkpoint(tmp_path / "model.ckpt", mirror_left=True, **NETWORK)
    path = scan(tmp_path / "one.nii.gz")
    result = predict_scans(checkpoint, path, tmp_path / "out", pages=False)
    assert not len(result.table)
    assert "which side" in result.left_out[0].reason
    assert len(predict_scans(checkpoint, path, tmp_path / "out", side="left", pages=False).table) == 1


def test_a_checkpoint_without_reference_says_so(tmp_path: Path) -> None:
    checkpoint = write_bright_checkpoint(tmp_path / "model.ckpt", **NETWORK)
    result = predict_scans(checkpoint, scan(tmp_path / "one.nii.gz"), tmp_path / "out")
    assert "SeverityAxis" in result.without_reference
    assert result.table["ood_flag"].isna().all()
    page = (tmp_path / "out" / "pages" / "one.html").read_text()
    assert "trained without SeverityAxis" in page


def test_unusual_knees_are_flagged_and_their_grade_is_not_offered(tmp_path: Path) -> None:
    checkpoint = write_bright_checkpoint(tmp_path / "model.ckpt", reference=a_reference(40.0), **NETWORK)
    result = predict_scans(checkpoint, scan(tmp_path / "one.nii.gz"), tmp_path / "out")
    row = result.table.iloc[0]
    assert row["ood_flag"] == 1
    assert row["ood_p"] == pytest.approx(1 / 31)
    assert "unlike the training knees" in row["warnings"]
    page = (tmp_path / "out" / "pages" / "one.html").read_text()
    assert "not reliable here" in page
    assert "do not rely on the grade" in page


def test_a_field_of_view_that_does_not_fit_is_warned_of(checkpoint: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 900, (8, 16, 18)).astype(np.int16)
    write_nifti(tmp_path / "half.nii.gz", values, np.diag([1.0, 2.0, 2.0, 1.0]))
    write_nifti(tmp_path / "mask.nii.gz", (values > 700).astype(np.uint8), np.diag([8.0, 5.0, 5.0, 1.0]))
    table = predict_scans(
        checkpoint, [tmp_path / "half.nii.gz", tmp_path / "mask.nii.gz"], tmp_path / "out", pages=False
    ).table
    assert table["outside_share"].tolist() == pytest.approx([2 / 3, 0])
    assert (
        "67 % of the volume that the model looks at lies outside the scan (8 x 32 x 36 mm)"
        in table["warnings"][0]
    )
    assert "noise, not an image?" in table["warnings"][0]
    for words in ("middle 6 % of the scan", "4.0 times as coarse", "only 2 different intensities"):
        assert words in table["warnings"][1]


def test_the_mask_of_a_manifest_is_outlined_and_a_bad_one_is_done_without(
    checkpoint: Path, tmp_path: Path
) -> None:
    scan(tmp_path / "a.nii.gz")
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[3:8, 4:9, 5:9] = 4
    write_nifti(tmp_path / "mask.nii.gz", labels, AFFINE)
    write_nifti(tmp_path / "other.nii.gz", labels[:10], AFFINE)
    (tmp_path / "knees.csv").write_text(
        "knee,subject,mri,cartilage\none,s,a.nii.gz,mask.nii.gz\ntwo,s,a.nii.gz,other.nii.gz\n"
    )
    table = predict_scans(checkpoint, tmp_path / "knees.csv", tmp_path / "out").table
    pages = [(tmp_path / "out" / "pages" / f"{knee}.html").read_text() for knee in ("one", "two")]
    assert "cartilage</span>" in pages[0]
    assert "cartilage</span>" not in pages[1]
    assert "label map not used" in table["warnings"][1]


def test_pages_hold_no_address_and_escape_names(checkpoint: Path, tmp_path: Path) -> None:
    scan(tmp_path / "a.nii.gz")
    (tmp_path / "knees.csv").write_text("knee,subject,mri\n&amp;b's 100%,secret-subject,a.nii.gz\n")
    predict_scans(checkpoint, tmp_path / "knees.csv", tmp_path / "out")
    (page,) = (tmp_path / "out" / "pages").iterdir()
    text = page.read_text()
    assert "&amp;amp;b&#39;s 100%" in text
    assert "secret-subject" not in text
    assert str(tmp_path) not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "Research use only, not a medical device" in text
    index = (tmp_path / "out" / "index.html").read_text()
    from html import unescape
    from urllib.parse import unquote

    for folder in ("pages", "pictures"):
        link = next(part for part in index.split('"') if part.startswith(f"{folder}/"))
        assert (tmp_path / "out" / unquote(unescape(link))).is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b"junk"), "not a file of plain weights"),
        (lambda path: _without(path, "KneeMRIDataModule"), "does not say how volumes were preprocessed"),
    ],
)
def test_checkpoints_that_cannot_be_used(change, message: str, checkpoint: Path) -> None:
    change(checkpoint)
    with pytest.raises(CheckpointError, match=message):
        load_trained(checkpoint)


def _without(path: Path, key: str) -> None:
    content = torch.load(path, weights_only=True)
    del content[key]
    torch.save(content, path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers=-1"], "--workers: expected 0 or more, got -1"),
        (["--head=bone"], "head: expected one of ['kl', 'oa'], got 'bone'"),
        (["--series=("], "series: expected a regular expression"),
        (["--device=cuda:77"], "device: 'cuda:77' cannot be used here"),
    ],
)
def test_options_out_of_range_end_in_one_line(
    words: list[str], message: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = scan(tmp_path / "one.nii.gz")
    assert main(["predict", str(checkpoint), str(path), "--output", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err


def test_reference_in_evaluation_mode(tmp_path: Path) -> None:
    """Computed once, of the knees that the checkpoint names, and found again beside the checkpoint."""
    rows = ["knee,subject,mri,kl"]
    for index in range(12):
        scan(tmp_path / f"k{index}.nii.gz", seed=index)
        rows.append(f"k{index},s{index},k{index}.nii.gz,{index % 5}")
    (tmp_path / "knees.csv").write_text("\n".join(rows) + "\n")
    splits = {"train": [f"k{index}" for index in range(8)], "val": ["k8", "k9"], "test": ["k10", "k11"]}
    checkpoint = write_bright_checkpoint(tmp_path / "model.ckpt", splits=splits, **NETWORK)
    result = predict_scans(
        checkpoint, tmp_path / "k3.nii.gz", tmp_path / "out", reference=tmp_path / "knees.csv"
    )
    assert reference_path(checkpoint).is_file()
    assert result.without_reference == ""
    trained = load_trained(checkpoint)
    assert trained.reference is not None
    assert trained.reference.origin == "evaluation"
    assert trained.reference.kl.tolist() == [index % 5 for index in range(8)]
    embedding = np.load(tmp_path / "out" / "embeddings.npz")["embedding"]
    np.testing.assert_allclose(trained.reference.embeddings[3], embedding[0], atol=1e-6)
    assert result.table["neighbour_grades"][0].startswith("3 ")
    assert trained.checkpoint_hash == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert trained.identity != trained.checkpoint_hash, "the reference beside it changes predictions, too"

    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["heads.oa.projection.bias"] += 1
    torch.save(content, checkpoint)
    assert load_trained(checkpoint).reference is None, "made for other weights"
    lines = (tmp_path / "knees.csv").read_text().splitlines()
    (tmp_path / "few.csv").write_text("\n".join(lines[:5]) + "\n")
    with pytest.raises(ValueError, match="names 'k4' \\(4 missing\\)"):
        predict_scans(checkpoint, tmp_path / "k3.nii.gz", tmp_path / "o", reference=tmp_path / "few.csv")


def test_the_hash_of_a_checkpoint_is_that_of_its_file(checkpoint: Path) -> None:
    """As ``sha256sum`` prints it, so that a card can be checked with other tools."""
    trained = load_trained(checkpoint)
    assert trained.checkpoint_hash == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert trained.identity == trained.checkpoint_hash


def test_a_mirrored_reference_needs_the_side_of_its_knees(tmp_path: Path) -> None:
    rows = ["knee,subject,side,mri,kl"]
    for index in range(12):
        scan(tmp_path / f"k{index}.nii.gz", seed=index)
        side = "" if index in (3, 11) else "left"
        rows.append(f"k{index},s{index},{side},k{index}.nii.gz,{index % 5}")
    manifest = tmp_path / "knees.csv"
    manifest.write_text("\n".join(rows) + "\n")
    splits = {"train": [f"k{index}" for index in range(8)], "val": ["k8", "k9"], "test": ["k10", "k11"]}
    checkpoint = write_bright_checkpoint(tmp_path / "model.ckpt", splits=splits, mirror_left=True, **NETWORK)
    options = {"reference": manifest, "side": "left"}
    with pytest.raises(ManifestError, match=r"1 problem\n  row 5, knee 'k3', column 'side': mirror_left"):
        predict_scans(checkpoint, tmp_path / "k0.nii.gz", tmp_path / "out", **options)
    assert not reference_path(checkpoint).is_file()
    manifest.write_text(manifest.read_text().replace("k3,s3,,", "k3,s3,right,"))
    predict_scans(checkpoint, tmp_path / "k0.nii.gz", tmp_path / "out", **options)
    assert reference_path(checkpoint).is_file(), "the side of a test knee is not needed"


def test_without_pages_and_overlays_there_is_a_table_only(checkpoint: Path, tmp_path: Path) -> None:
    result = predict_scans(
        checkpoint, scan(tmp_path / "one.nii.gz"), tmp_path / "out", pages=False, overlays=False
    )
    assert result.table["peak_right_mm"].isna().all()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "embeddings.npz", "left-out.csv", "predictions.csv", "records",
    ]  # fmt: skip
    record = json.loads((tmp_path / "out" / "records" / "one.json").read_text())
    assert record["files"] == []


def test_overlays_are_zero_outside_what_the_network_sees(checkpoint: Path, tmp_path: Path) -> None:
    shape = (40, 18, 18)
    write_nifti(tmp_path / "wide.nii.gz", blob(shape, AFFINE, (20, 8, 8), width=9), AFFINE)
    predict_scans(checkpoint, tmp_path / "wide.nii.gz", tmp_path / "out", pages=False)
    values = np.asarray(nib.load(tmp_path / "out" / "overlays" / "wide.nii.gz").dataobj)
    assert not values[:14].any()
    assert not values[26:].any()
    assert values[14:26, 1:17, 1:17].any()
