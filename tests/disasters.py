"""Kills and full disks at random moments, over every command that writes.

``python tests/disasters.py --kills 200 --disks 50`` prints what became of them; the slow tests run a few.
Commands run in forks of a process that has imported everything, so that a kill falls into their work. A full
disk is a small tmpfs where this process may mount one, otherwise a limit on the length of files.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

SHAPE = [12, 16, 16]
CALLBACKS = ("OrdinalMetrics", "SeverityAxis", "PredictionWriter", "LearningCurves", "RunLog")
BEST = {"class_path": "oahier.callbacks.BestCheckpoint", "init_args": {"monitor": "val/loss", "mode": "min"}}
FULL = ("No space left", "File too large", "free space", "are free")
"""What messages about a full disk say."""
ENTRY_POINTS = (
    "training", "study", "predict", "export",
    "data.import_command", "data.cache_command", "data.phantom_command",
)  # fmt: skip


@dataclass
class Command:
    """A command that writes into a folder.

    Args:
        words: its words, for a folder.
        seconds: how long it takes, measured.
        size: bytes that it writes, measured.
        files: hash of every file that comes out equal twice, ``None`` of the others.
    """

    words: Callable[[Path], list[str]]
    seconds: float = 0.0
    size: int = 0
    files: dict[str, str | None] = field(default_factory=dict)


def configuration() -> dict:
    return {
        "seed_everything": 3,
        "trainer": {
            "max_epochs": 3, "accelerator": "cpu", "logger": False, "enable_progress_bar": False,
            "enable_model_summary": False, "log_every_n_steps": 1,
            "callbacks": [*({"class_path": f"oahier.callbacks.{name}"} for name in CALLBACKS), BEST],
        },
        "model": {
            "encoder": {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8}},
            "heads": {"oa": {"class_path": "oahier.BinaryHead"}, "kl": {"class_path": "oahier.SoftmaxHead"}},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.001}},
        },
        "data": {"manifest": "manifest.csv", "shape": SHAPE, "batch_size": 4},
    }  # fmt: skip


def commands(base: Path) -> dict[str, Command]:
    """Commands by name, and what they need, made in a folder."""
    must(["data", "phantom", str(base / "ph"), "--knees=14", "--shape=[16,24,24]"], base)
    manifest = base / "ph" / "manifest.csv"
    config = configuration()
    config["data"]["manifest"] = str(manifest)
    (base / "config.yaml").write_text(yaml.safe_dump(config))
    base_of_cells = {name: config[name] for name in ("model", "data")}
    base_of_cells["model"] = {name: item for name, item in config["model"].items() if name != "heads"}
    plan = {
        "name": "kills",
        "base": {**base_of_cells, "trainer": {"max_epochs": 2, "accelerator": "cpu"}},
        "grid": {"supervision": ["single-kl", "dual"], "seed": [0]},
        "saliency": ["gradcam"],
        "knees": 1,
        "monitor": "val/loss",
        "mode": "min",
    }
    (base / "plan.yaml").write_text(yaml.safe_dump(plan))
    given = f"--config={base / 'config.yaml'}"
    must(["fit", given, f"--trainer.default_root_dir={base / 'run'}"], base)
    importing = ["data", "import", "table", "--workers=0", "--convert", "--no-progress"]
    best = str(base / "run" / "checkpoints" / "best.ckpt")
    return {
        "fit": Command(
            lambda folder: ["fit", given, f"--trainer.default_root_dir={folder / 'run'}", "--ckpt_path=last"]
        ),
        "study": Command(
            lambda folder: ["study", "run", str(base / "plan.yaml"), "--out", str(folder / "study")]
        ),
        "cache": Command(lambda folder: ["data", "cache", given, f"--data.cache={folder / 'cache'}"]),
        "import": Command(lambda folder: [*importing, str(manifest), str(folder / "import")]),
        "predict": Command(
            lambda folder: ["predict", best, str(manifest), f"--output={folder / 'out'}", "--no-pages"]
        ),
        "export": Command(
            lambda folder: ["export", best, str(folder / "export"), "--formats=[safetensors]", "--overwrite"]
        ),
    }


def run(
    words: list[str], folder: Path, log: Path, *, kill_after: float | None = None, longest: int = 0
) -> int:
    """Exit status of a command in a fork; negative if it was killed."""
    child = os.fork()
    if not child:
        _run_in_child(words, folder, log, longest)
    end = None if kill_after is None else time.monotonic() + kill_after
    while end is not None and time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    if end is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run_in_child(words: list[str], folder: Path, log: Path, longest: int) -> None:
    status = 1
    try:
        os.setsid()
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.environ["OAHIER_CACHE"] = str(folder / "cache")
        if longest:
            resource.setrlimit(resource.RLIMIT_FSIZE, (longest, longest))
        from oahier.cli import main

        status = main(words)
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def must(words: list[str], folder: Path) -> None:
    log = folder / "log.txt"
    if run(words, folder, log):
        raise RuntimeError(f"{words}: {log.read_text()[-3000:]}")


def files_in(folder: Path) -> dict[str, str]:
    """Hashes of the visible files; of checkpoints, of the weights; of cache entries, without the clock."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if (
            path.is_file()
            and not any(part.startswith(".") for part in Path(name).parts)
            and path.name != "log.txt"
        ):
            found[name] = _READERS.get(path.suffix, lambda whole: _hash(whole.read_bytes()))(path)
    return found


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _weights(path: Path) -> str:
    """Checksums of the tensors of a checkpoint and its epoch; no tensor is made in this process."""
    with zipfile.ZipFile(path) as archive:
        return _hash(
            repr(
                sorted((item.CRC, item.file_size) for item in archive.infolist() if "/data/" in item.filename)
            ).encode()
        )


def _entry(path: Path) -> str:
    """An entry of the cache without the second in which it was written."""
    content = path.read_bytes()
    return _hash(content[:STAMP] + content[STAMP + 8 :])


STAMP = 20
"""Where eight bytes of the clock lie in the header of an entry."""
_READERS = {".ckpt": _weights, ".knee": _entry}


def require_whole(folder: Path) -> None:
    """Refuse visible files that are half written."""
    for path in folder.rglob("*"):
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.suffix in (".ckpt", ".npz", ".pt"):
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None, path
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            with path.open(newline="") as file:
                assert len({len(row) for row in csv.reader(file)}) == 1, path
        elif path.name != "log.txt":
            assert path.stat().st_size, path


def measure(command: Command, base: Path) -> None:
    """What a command writes when nothing happens to it, twice."""
    seen = []
    for number in (1, 2):
        time.sleep(1.1)  # in another second, so that what the clock changes is not taken as equal
        folder = base / f"whole-{number}"
        folder.mkdir()
        started = time.monotonic()
        must(command.words(folder), folder)
        command.seconds = time.monotonic() - started
        seen.append(files_in(folder))
        command.size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder)
    first, second = seen
    assert set(first) == set(second)
    command.files = {name: value if second[name] == value else None for name, value in first.items()}
    assert any(
        value
        for name, value in command.files.items()
        if name.endswith((".csv", ".npy", ".safetensors", ".nii.gz")) or "cache" in name
    )


def require_equal(command: Command, folder: Path) -> None:
    found = files_in(folder)
    assert set(found) == set(command.files), set(found) ^ set(command.files)
    other = [name for name, value in command.files.items() if value is not None and found[name] != value]
    assert not other, other


def kill(command: Command, base: Path, kills: int, chance: random.Random) -> Counter[str]:
    """Kill a command at random moments, and run it again each time, until it has been killed often enough."""
    count: Counter[str] = Counter()
    while count["kills"] < kills:
        folder = Path(tempfile.mkdtemp(dir=base))
        log = folder / ".log"
        while True:
            more = count["kills"] < kills
            after = chance.uniform(0.0, 1.1 * command.seconds) if more else None
            status = run(command.words(folder), folder, log, kill_after=after)
            if status == -signal.SIGKILL:
                count["kills"] += 1
                require_whole(folder)
                continue
            assert status == 0, log.read_text()[-4000:]
            break
        assert "Traceback" not in log.read_text(), log.read_text()[-4000:]
        require_equal(command, folder)
        count["ended equal"] += 1
        shutil.rmtree(folder)
    return count


@contextlib.contextmanager
def disk(base: Path) -> Iterator[tuple[Path, Callable[[int], None], str]]:
    """A folder, a function that gives its disk a size, and what kind of disk it is."""
    folder = Path(tempfile.mkdtemp(dir=base))
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        yield folder, lambda size: None, "RLIMIT_FSIZE"
        return

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)

    try:
        yield folder, resize, "tmpfs"
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(command: Command, base: Path, disks: int, chance: random.Random) -> Counter[str]:
    """Run a command on disks that are too small, then on one that is not."""
    count: Counter[str] = Counter()
    while count["full disks"] < disks:
        log = Path(tempfile.mkstemp(dir=base, suffix=".log")[1])
        with disk(base) as (folder, resize, kind):
            size = int(chance.uniform(4096, 0.95 * command.size))
            resize(size)
            status = run(
                command.words(folder), folder, log, longest=size // 4 if kind == "RLIMIT_FSIZE" else 0
            )
            said = log.read_text()
            assert "Traceback" not in said, said[-6000:]
            if status:
                count["full disks"] += 1
                count[kind] += 1
                assert status in (1, 2), (status, said[-3000:])
                assert any(word in said for word in FULL), said[-3000:]
                require_whole(folder)
            resize(64 << 20)
            status = run(command.words(folder), folder, log)
            assert status == 0, log.read_text()[-4000:]
            require_equal(command, folder)
            count["ended equal"] += 1
    return count


@contextlib.contextmanager
def prepared(names: list[str]) -> Iterator[tuple[Path, dict[str, Command]]]:
    """Commands that were measured, in a folder for them."""
    for name in ENTRY_POINTS:
        importlib.import_module(f"oahier.cli.{name}")
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        found = {name: command for name, command in commands(base).items() if name in names}
        for command in found.values():
            measure(command, base)
        yield base, found


NAMES = ["fit", "study", "cache", "import", "predict", "export"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--disks", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="*", default=NAMES)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with prepared(options.commands) as (base, found):
        for name, command in found.items():
            print(
                f"{name}: {command.seconds:.1f} s, {command.size} bytes, {len(command.files)} files",
                flush=True,
            )
        total: Counter[str] = Counter()
        for act, number in ((kill, options.kills), (fill, options.disks)):
            for index, (name, command) in enumerate(found.items()):
                share = number // len(found) + (index < number % len(found))
                started = time.monotonic()
                count = act(command, base, share, chance) if share else Counter()
                total += count
                print(f"{name}: {dict(count)} in {time.monotonic() - started:.0f} s", flush=True)
        print(f"all: {dict(total)}")


if __name__ == "__main__":
    main()
