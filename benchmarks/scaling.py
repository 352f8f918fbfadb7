"""Few and many small knees, each number in a process of its own: time, memory and disk per knee."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Comparison, Cost, cost
from benchmarks.knees_on_disk import KneesOnDisk, by

_SOURCE = (16, 20, 12)
_SHAPE = (8, 12, 12)
_SPACING = (1.0, 0.6, 0.6)


def scaling(quick: bool) -> list[Comparison]:
    """Goals: nothing per knee grows from 1,000 to 10,000 knees, and memory not at all.

    Few knees cost more each, since starting up falls on them.
    """
    numbers, rounds = ((4, 8, 16), 1) if quick else ((100, 1_000, 10_000), 2)
    runs: dict[int, list[dict[str, Any]]] = {number: [] for number in numbers}
    for number in numbers * rounds:  # in turn
        runs[number].append(_run(number, alone=not quick))
    few, some, many = numbers
    note = f"{by(_SOURCE)} .nii with label map to {by(_SHAPE)}, batch 8, no workers"
    results = []
    for what, words in (
        ("build", "building a cache"),
        ("start", "starting up with a full cache"),
        ("epoch", "cached epoch"),
        ("disk", "disk (MB, not seconds)"),
    ):
        for larger, smaller, goal in ((some, few, None), (many, some, 1.2)):
            pairs = tuple(
                (Cost(*a[what]) / larger, Cost(*b[what]) / smaller)
                for a, b in zip(runs[larger], runs[smaller], strict=True)
            )
            name = f"{words}, per knee of {larger:,}"
            results.append(Comparison(name, f"per knee of {smaller:,}", pairs, goal, note=note))
    memory = tuple(
        (Cost(*a["memory"]), Cost(*b["memory"])) for a, b in zip(runs[many], runs[few], strict=True)
    )
    name = f"peak memory (GB, not seconds), {many:,} knees"
    return [*results, Comparison(name, f"{few:,} knees", memory, 1.2, note=note)]


def _run(number: int, *, alone: bool) -> dict[str, Any]:
    """Measure, in a fresh process if ``alone``."""
    with tempfile.TemporaryDirectory() as name:
        KneesOnDisk(Path(name), number, _SOURCE, ".nii").write_small()
        if not alone:
            return _measure(Path(name))
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scaling", name],
            check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
        )  # fmt: skip
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _measure(folder: Path) -> dict[str, Any]:
    """Build, start up again, run an epoch (the last two: best of three).

    Costs are (wall, processor) seconds; GB of memory and MB of disk stand there twice.
    """
    import oahier as oh

    def data(knees: Any = folder / "knees.csv", cache: Path | None = None) -> oh.KneeMRIDataModule:
        module = oh.KneeMRIDataModule(
            knees, _SHAPE, spacing=_SPACING, batch_size=8, augmentation=None, cache=cache
        )
        module.setup("predict")
        return module

    whole = oh.read_manifest(folder / "knees.csv")
    few = type(whole).from_table(whole.table.iloc[:3].assign(split="train"), whole.root)
    for batch in data(few, folder / "other").predict_dataloader():  # imports everything
        batch["mri"].sum()

    def epoch() -> None:
        for batch in module.predict_dataloader():
            batch["mri"].sum()

    build = cost(data)
    start = min((cost(data) for _ in range(3)), key=lambda one: one.wall)
    module = data()
    best = min((cost(epoch) for _ in range(3)), key=lambda one: one.wall)
    costs = {"build": build, "start": start, "epoch": best}
    measured: dict[str, Any] = {name: (one.wall, one.cpu) for name, one in costs.items()}
    entries = (folder / ".oahier-cache").rglob("*")
    used = sum(path.stat().st_blocks * 512 for path in entries if path.is_file()) / 1e6
    peak = _peak_memory() / 1e9
    return {**measured, "disk": (used, used), "memory": (peak, peak)}


def _peak_memory() -> int:
    """Bytes; of Linux's own account, since that of getrusage begins with the parent process's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(arguments: Sequence[str]) -> None:
    """Print what one number of knees takes, as JSON."""
    os.environ.pop("OAHIER_CACHE", None)
    print(json.dumps(_measure(Path(arguments[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
