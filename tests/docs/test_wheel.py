"""The tutorial that needs nothing but the wheel, followed in an empty folder without the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from docs.test_docs import ROOT, blocks, commands
from docs.test_tutorials import TRAINER

PAGE = ROOT / "docs" / "tutorials" / "from-a-wheel.md"
SMALLER = {
    ("data", "phantom"): ["--knees", "30", "--shape", "[16,24,24]"],
    ("data", "import"): ["--workers", "0", "--no-progress"],
    ("fit",): [*TRAINER, "--data.shape", "[16,24,24]", "--model.encoder.init_args.width", "8"],
    ("clinical",): ["--resamples", "200"],
}
"""Options after those of the page."""


def pip(*words: str | Path) -> None:
    command = [sys.executable, "-m", "pip", *map(str, words), "--quiet", "--no-deps"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_from_a_wheel(tmp_path: Path) -> None:
    """Each command in a process of its own, as it is typed."""
    pip("wheel", ROOT, "--wheel-dir", tmp_path / "built")
    (wheel,) = (tmp_path / "built").iterdir()
    pip("install", wheel, "--target", tmp_path / "site")
    folder = tmp_path / "empty"
    folder.mkdir()
    environment = {
        **os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1",
        "OAHIER_CACHE": str(tmp_path / "cache"), "COLUMNS": "100",
    }  # fmt: skip

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "oahier", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, env=environment
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr
        return done.stdout

    where = subprocess.run(
        [sys.executable, "-c", "import oahier; print(oahier.__file__)"],
        capture_output=True, text=True, check=True, cwd=folder, env=environment,
    )  # fmt: skip
    assert where.stdout.startswith(str(tmp_path / "site")), "the wheel is tested, not the repository"
    said = {}
    for block in blocks(PAGE):
        if block.language != "bash" or block.reason is not None:
            continue
        for _, *words in commands(block):
            more = next((more for start, more in SMALLER.items() if tuple(words[: len(start)]) == start), [])
            said[" ".join(words[:2])] = run(*words, *more)
    assert list(said) == [
        "data phantom", "data import", "data check", "init --manifest", "fit --config", "test --config",
        f"predict {Path('runs/mine/checkpoints/best.ckpt')}", f"clinical {Path('runs/mine/predictions.csv')}",
    ]  # fmt: skip
    assert "30 knees of 30 subjects, 30 with label maps" in said["data import"]
    for name in ("data phantom", "data import", "init --manifest"):
        typed = [line.strip() for line in said[name].partition("next:\n")[2].splitlines()]
        assert any(line.startswith("oahier ") for line in typed)
    tested = pd.read_csv(folder / "runs" / "mine" / "predictions.csv", dtype=str)
    manifest = pd.read_csv(folder / "knees" / "manifest.csv", dtype=str)
    assert set(tested["knee"]) == set(manifest.loc[manifest["split"] == "test", "knee"])
    assert (folder / "audit.html").is_file()
    assert (folder / "clinical" / "index.html").is_file()
    assert list(pd.read_csv(folder / "graded" / "predictions.csv", dtype=str)["knee"]) == ["P0000R-V00"]
