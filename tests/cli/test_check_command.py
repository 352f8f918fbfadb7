"""``oahier data check`` through its front door."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from oahier.cli import main


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Ten small volumes."""
    generator = np.random.default_rng(0)
    rows = ["knee,subject,mri,kl,site"]
    for number in range(10):
        volume = generator.normal(100, 10, (16, 16, 16)).astype(np.float32)
        nib.save(nib.Nifti1Image(volume, np.diag([4.0, 4.0, 4.0, 1.0])), tmp_path / f"{number}.nii.gz")
        rows.append(f"k{number},{number},{number}.nii.gz,{number % 5},{'AB'[number % 2]}")
    path = tmp_path / "knees.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in text.splitlines() if str(Path("/")) not in line) <= 80
    return " ".join(text.split())


def test_exit_status(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(manifest)]) == 0
    text = printed(capsys)
    assert "no problems in" in text
    assert "10 knees of 10 subjects" in text
    assert "KL 4 2" in text
    assert main(["data", "check", str(manifest), "--strict"]) == 0
    nib.save(
        nib.Nifti1Image(np.random.default_rng(1).normal(900, 10, (16, 16, 16)), np.diag([4.0, 4, 4, 1])),
        manifest.parent / "3.nii.gz",
    )
    assert main(["data", "check", str(manifest)]) == 0
    assert "row 5 k3: intensities unlike the other knees" in printed(capsys)
    assert main(["data", "check", str(manifest), "--strict"]) == 1
    assert main(["data", "check", str(manifest), "--strict", "--no-files"]) == 0
    (manifest.parent / "4.nii.gz").unlink()
    assert main(["data", "check", str(manifest)]) == 1
    assert main(["data", "check", str(manifest.parent / "none.csv")]) == 2
    assert "cannot read the manifest" in capsys.readouterr().err
    assert main(["data", "check", str(manifest), "--workers=-1"]) == 2
    assert main(["data", "check", str(manifest), "--covariates=bmi"]) == 2


def test_files_are_written(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, facts = tmp_path / "out" / "audit.html", tmp_path / "out" / "audit.json"
    arguments = [f"--html={page}", f"--json={facts}", "--covariates=site", f"--cache={tmp_path / 'c'}"]
    assert main(["data", "check", str(manifest), *arguments]) == 0
    assert "<h1>knees.csv</h1>" in page.read_text()
    assert list(json.loads(facts.read_text())["tables"])[:3] == ["cohort", "grades", "site"]
    assert len((tmp_path / "c" / "audit" / "facts.jsonl").read_text().splitlines()) == 1 + 10
    assert f"wrote {page}" in printed(capsys)


def test_long_lists_are_cut(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(10):
        (manifest.parent / f"{number}.nii.gz").write_bytes(b"[bold]")
    assert main(["data", "check", str(manifest)]) == 1
    text = printed(capsys)
    assert "10 errors" in text
    assert "and 4 more: --html or --json lists all" in text


def test_counts_by_covariate_are_printed(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(manifest)]) == 0
    text = printed(capsys)
    assert "site split KL 0 KL 1 KL 2 KL 3 KL 4 all" in text
    assert "A all 1 1 1 1 1 5 B all 1 1 1 1 1 5" in text
    manifest.write_text(
        "\n".join(
            f"{line},{'ward' if not n else f'w{n}'}" for n, line in enumerate(manifest.read_text().split())
        )
    )
    for number in range(10, 40):
        with manifest.open("a") as file:
            file.write(f"\nk{number},{number},1.nii.gz,1,A,w{number}")
    main(["data", "check", str(manifest), "--no-files", "--covariates=ward"])
    assert "and 15 more rows: --html or --json lists all" in printed(capsys)
