"""A thousand invented identifiers in, none out: import to study, and the records of W&B."""

from __future__ import annotations

import base64
import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
import yaml
from miniature.identifiers import (
    Planted,
    cut,
    foreign_line,
    found_in,
    searched,
    write_dicom,
    write_nifti,
    write_text_header,
)

from oahier.cli import main

ON_PURPOSE = ("manifest.csv", "left-out.csv", "series.csv")
"""Tables that say where something lies: they, and they alone, hold names of files and folders."""


def test_the_search_finds_a_leak(tmp_path: Path) -> None:
    """In any encoding, case and packing; and nothing where there is nothing."""
    name = Planted().new()
    (tmp_path / "plain.json").write_text(f'{{"note": "a{name}b"}}')
    (tmp_path / "wide.bin").write_bytes(b"x" + name.upper().encode("utf-16-le"))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"\0\1" + name.encode()))
    np.savez_compressed(tmp_path / "inner.npz", ids=np.array([name]), **{f"{name}-values": np.zeros(2)})
    packed = base64.b64encode(gzip.compress(b"\0" * 400 + name.encode())).decode()
    (tmp_path / "page.html").write_text(f"<script>{packed}</script>")
    (tmp_path / name).mkdir()
    (tmp_path / "clean.txt").write_text("Qxz12Wvk and all other words")
    names = {"plain.json", "wide.bin", "packed.gz", "inner.npz", "page.html", name}
    assert searched(tmp_path) == {key: {name.lower()} for key in names}


def _sources(folder: Path, planted: Planted) -> tuple[Path, Path]:
    """A tree of DICOM, and a table of other images with columns that name persons."""
    for number in range(8):
        write_dicom(folder / "dicom" / planted.place() / planted.place(), planted, number)
    write_dicom(folder / "dicom" / planted.place(), planted, 8, Laterality="X")
    broken = write_dicom(folder / "dicom" / planted.place(), planted, 9)
    cut(sorted(broken.iterdir())[3])
    rows = [["patient", "scan", "grade", "split", *(f"person {n}" for n in range(12))]]
    splits = ["train"] * 16 + ["val"] * 5 + ["test"] * 5 + ["train"] * 6
    for number in range(32):
        kind = ("nii.gz", "nrrd", "mha", "nii")[number % 4]
        path = folder / "images" / planted.place() / f"{planted.place()}.{kind}"
        path.parent.mkdir(parents=True)
        write = write_nifti if "nii" in kind else write_text_header
        write(path, planted, number)
        if number >= 26:
            foreign_line(path, planted) if kind in ("nrrd", "mha") else cut(path)
        person = [planted.new() for _ in range(12)]
        where = path.relative_to(folder).as_posix()
        rows.append([f"P{number:02d}", where, str(number % 5), splits[number], *person])
    rows[-1][2], rows[-2][2] = "II", "7"
    with (folder / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return folder / "dicom", folder / "table.csv"


def _run(folder: Path, manifest: Path) -> dict[str, object]:
    names = (
        "OrdinalMetrics",
        "SeverityAxis",
        "PredictionWriter",
        "LearningCurves",
        "RunLog",
        "BestCheckpoint",
    )
    callbacks = [{"class_path": f"oahier.callbacks.{name}"} for name in names]
    wandb = {"project": "knees", "offline": True, "save_dir": str(folder / "run")}
    logger = {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": wandb}
    encoder = {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8, "norm": "group"}}
    heads = {"oa": {"class_path": "oahier.BinaryHead"}, "kl": {"class_path": "oahier.SoftmaxHead"}}
    return {
        "seed_everything": 0,
        "trainer": {
            "max_epochs": 1, "accelerator": "cpu", "default_root_dir": str(folder / "run"), "logger": logger,
            "callbacks": callbacks,
        },
        "model": {"encoder": encoder, "heads": heads},
        "data": {
            "manifest": str(manifest), "shape": [12, 12, 12], "batch_size": 4, "cache": str(folder / "cache"),
        },
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_identifier_leaves(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted, source, out = Planted(), tmp_path / "source", tmp_path / "out"
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("XDG_CACHE_HOME", str(out / "home"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(out / "artifacts"))
    monkeypatch.setattr("sys.argv", ["oahier", "fit", f"--data.manifest={planted.new()}"])
    dicom, table = _sources(source, planted)
    columns = "--columns=subject=patient,mri=scan,kl=grade"
    words = [str(table), str(out / "table"), columns, "--covariates=none", "--convert"]
    assert main(["data", "import", "table", *words]) == 0
    assert (
        main(["data", "import", "dicom", str(dicom), str(out / "dicom"), "--series=DESS", "--convert"]) == 0
    )
    assert main(["data", "check", str(out / "table"), "--html", str(out / "audit.html")]) == 0
    assert main(["data", "check", str(out / "dicom"), "--html", str(out / "audit-dicom.html")]) == 0

    config = _run(out, out / "table" / "manifest.csv")
    (out / "run.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(out / "run.yaml")]) == 0
    assert main(["test", "--config", str(out / "run" / "config.yaml")]) == 0
    best = str(out / "run" / "checkpoints" / "best.ckpt")
    given = [str(out / name / "manifest.csv") for name in ("table", "dicom")]
    for number, path in enumerate(given):
        pages = ["--pages"] if number else ["--no-pages"]
        assert main(["predict", best, path, "--output", str(out / f"predicted-{number}"), *pages]) == 0
    assert main(["export", best, str(out / "exported"), "--formats", "[safetensors]"]) == 0

    base = {key: config[key] for key in ("trainer", "model", "data")}
    base["trainer"] = {"max_epochs": 1, "accelerator": "cpu", "logger": config["trainer"]["logger"]}  # type: ignore[index]
    base["model"] = {"encoder": config["model"]["encoder"]}  # type: ignore[index]
    plan = {"name": "mini", "base": base, "grid": {"supervision": ["dual"], "seed": [0, 1]}, "saliency": []}
    (out / "study.yaml").write_text(yaml.safe_dump(plan))
    assert main(["study", "run", str(out / "study.yaml"), "--out", str(out / "study")]) == 0
    assert main(["study", "report", str(out / "study")]) == 0

    said = capfd.readouterr()
    hits = searched(out)
    stores = {name for name in hits if "/.import/" in name}  # where what was seen of each file is remembered
    told = {name for name in hits if Path(name).name in ON_PURPOSE}
    allowed = dict.fromkeys(told | stores, planted.places)
    leaks = {name: more for name, found in hits.items() if (more := found - allowed.get(name, set()))}
    counted = [path for path in out.rglob("*") if path.is_file()]
    records = [path for path in counted if path.suffix == ".wandb"]
    with capfd.disabled():
        print(
            f"\n{len(planted.made)} identifiers, {len(planted.places)} of them names of files and folders; "
            f"{len(counted)} files searched, {len(records)} of W&B; {len(leaks)} leaks; "
            f"{len(told)} tables and {len(stores)} stores say where files lie"
        )
    assert len(planted.made) >= 1000
    assert len(records) == 4
    assert {name: sorted(found)[:3] for name, found in leaks.items()} == {}
    assert not found_in((said.out + said.err).encode()) - planted.places
