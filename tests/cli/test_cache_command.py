"""``oahier data cache`` builds what ``oahier fit`` would, and nothing is left for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from oahier.cli import main
from oahier.cli.data.cache_command import parse

NETWORK = """
trainer:
  default_root_dir: {run}
  max_epochs: 1
  limit_train_batches: 1
  limit_val_batches: 1
  accelerator: cpu
  logger: false
  enable_checkpointing: false
  enable_progress_bar: false
  enable_model_summary: false
model:
  encoder: {{class_path: oahier.ResNet3D, init_args: {{depth: 10, width: 8, norm: group}}}}
  heads: {{kl: {{class_path: oahier.SoftmaxHead}}}}
data:
  seed: 0
"""


@pytest.fixture
def configuration(tmp_path: Path, phantom_knees: Path) -> Path:
    path = tmp_path / "data.yaml"
    data = {"manifest": str(phantom_knees), "shape": [12, 16, 16], "cache": str(tmp_path / "cache")}
    path.write_text(yaml.safe_dump({"seed_everything": 1, "trainer": {"max_epochs": 1}, "data": data}))
    return path


@pytest.fixture(scope="module")
def phantom_knees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from oahier import make_phantoms

    manifest = make_phantoms(tmp_path_factory.mktemp("knees"), knees=10, shape=(12, 16, 16), progress=False)
    assert manifest.path is not None
    return manifest.path


def entries(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.glob("??/*.knee")}


def test_a_fit_afterwards_builds_nothing(
    configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "cache", "--config", str(configuration)]) == 0
    said = capsys.readouterr().out
    assert "10 knees of 12 x 16 x 16 voxels" in said
    assert "10 to make: 0.1 MB of disk" in said
    assert "made 10 in" in said
    assert "10 entries, 0.1 MB" in said
    built = entries(tmp_path / "cache")
    assert len(built) == 10
    sources = (tmp_path / "cache" / "sources.json").stat().st_mtime_ns
    network = tmp_path / "network.yaml"
    network.write_text(NETWORK.format(run=tmp_path / "run"))
    assert main(["fit", f"--config={configuration}", f"--config={network}"]) == 0
    assert entries(tmp_path / "cache") == built
    assert (tmp_path / "cache" / "sources.json").stat().st_mtime_ns == sources
    capsys.readouterr()
    assert main(["data", "cache", f"--config={configuration}"]) == 0
    assert "all of them are there" in capsys.readouterr().out


def test_the_command_line_replaces_the_configuration_and_later_files_earlier_ones(
    configuration: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("data:\n  shape: [8, 8, 8]\n  mirror_left: false\n")
    words = [f"--config={configuration}", "--config", str(other), "--data.spacing", "[9.0, 9.0, 9.0]"]
    data = parse(words).data
    assert data.preprocessing.shape == (8, 8, 8)
    assert data.preprocessing.spacing == (9.0, 9.0, 9.0)
    assert data.knee_cache.folder == tmp_path / "cache"


def test_a_manifest_alone_will_do(phantom_knees: Path, tmp_path: Path) -> None:
    words = [str(phantom_knees), "--data.shape", "[8, 8, 8]", "--data.cache", str(tmp_path / "cache")]
    assert main(["data", "cache", *words, "--workers", "2"]) == 0
    assert len(entries(tmp_path / "cache")) == 10


def test_verifying_reads_every_byte(
    configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A flipped bit that kept size and time stamp is found only when asked, and the entry is made anew."""
    import os

    main(["data", "cache", f"--config={configuration}"])
    entry = next((tmp_path / "cache").glob("??/*.knee"))
    whole, stamp = entry.read_bytes(), entry.stat()
    damaged = bytearray(whole)
    damaged[-5] ^= 16
    entry.write_bytes(damaged)
    os.utime(entry, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    capsys.readouterr()
    main(["data", "cache", f"--config={configuration}"])
    assert "sizes and time stamps" in capsys.readouterr().out
    assert entry.read_bytes() == damaged
    main(["data", "cache", f"--config={configuration}", "--verify"])
    assert "made 1 in" in capsys.readouterr().out
    assert entry.read_bytes()[4096:] == whole[4096:]


def test_pruning_asks_first(configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "cache", f"--config={configuration}", "--data.shape", "[8, 8, 8]"])
    main(["data", "cache", f"--config={configuration}", "--prune"])
    assert "10 entries" in capsys.readouterr().out
    assert len(entries(tmp_path / "cache")) == 20
    main(["data", "cache", f"--config={configuration}", "--prune", "--yes"])
    assert len(entries(tmp_path / "cache")) == 10
    main(["data", "cache", f"--config={configuration}", "--prune", "--yes"])
    said = capsys.readouterr().out
    assert "nothing to remove" in said
    assert "all of them are there" in said


def test_bad_input(
    configuration: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def error(*words: str) -> str:
        assert main(["data", "cache", *words]) == 2
        return capsys.readouterr().err

    assert "no.yaml: cannot be read" in error("--config", str(tmp_path / "no.yaml"))
    (tmp_path / "empty.yaml").write_text("model: {}\n")
    assert "expected a section `data`" in error("--config", str(tmp_path / "empty.yaml"))
    (tmp_path / "typo.yaml").write_text("data: {batchsize: 4}\n")
    typo = error("--config", str(tmp_path / "typo.yaml"))
    assert "typo.yaml: there is no option 'data.batchsize'. Did you mean 'batch_size'" in typo
    (tmp_path / "broken.yaml").write_text("data: [1, 2\n\n")
    assert "broken.yaml: expected YAML: line 3" in error("--config", str(tmp_path / "broken.yaml"))
    assert "--workers: expected 0 or more, got -1" in error(f"--config={configuration}", "--workers", "-1")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert "are needed, 0.0 MB are free" in error(f"--config={configuration}")
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_is_a_file(
    configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("no folder")
    assert main(["data", "cache", "--config", str(configuration)]) == 2
    said = capsys.readouterr().err
    assert f"cache {tmp_path}/cache: expected a folder, got a file; " in said
    assert len(said.splitlines()) == 1
    below = f"--data.cache={tmp_path}/cache/below"
    assert main(["data", "cache", "--config", str(configuration), below]) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_an_interrupted_command_ends_in_one_line(
    configuration: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("oahier.data.cache.cache.write_entry", interrupt)
    assert main(["data", "cache", "--config", str(configuration)]) == 130
    assert capsys.readouterr().err == "\noahier: interrupted; run the same command again to go on\n"
