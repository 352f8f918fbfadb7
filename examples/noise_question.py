"""Does dual supervision recover the truth better than single when readers disagree?

Phantom knees have a true severity that no reader sees. Readers who agree with the truth in 100, 70 or 40 % of
knees grade them; they are right about OA or not, and err on the grade inside {0, 1} and {2, 3, 4}. Single-OA,
Single-KL and Dual models learn from these grades, few knees or many, with a narrow encoder or a wider one:
all combinations, a response surface. A seed has training knees, a reading, a start and an order of its own,
which all supervisions share; fewer knees are the first of the many, and everyone makes as many updates.
All are asked on the same test knees for what the readers do not know: true severity and true grade.

    python examples/noise_question.py --folder runs/noise --workers 2

writes ``surface.md``, ``surface.svg`` and ``surface.csv`` (``noise_tables.py``). All combinations of one seed
are trained before the next seed, so that what there is after an interruption is balanced; run it again to go
on, and with ``--runs 0`` for the tables of what there is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from methods_bench import Run, matrix, train
from noise_tables import write

import oahier as oh
from oahier.files import write_atomically
from oahier.phantom.readers import read_grade, reader_matrix

READERS = ("block-40", "block-100", "block-70")
SUPERVISIONS = ("single-oa", "single-kl", "dual")
BATCH = 24


@dataclass(frozen=True)
class Point(Run):
    """One training of the surface."""

    knees: int
    width: int

    @property
    def path(self) -> Path:
        """Its predictions of the test knees."""
        name = f"{self.method}_{self.reading}_{self.knees}_{self.width}_{self.seed}.npz"
        return self.folder / "runs" / name

    def config(self, options: argparse.Namespace) -> Mapping[str, Any]:
        """The configuration of the bench, with these knees, this width and as many updates as the others."""
        epochs = max(1, round(options.updates / -(-self.knees // BATCH)))
        config: Any = super().config(argparse.Namespace(shape=options.shape, epochs=epochs))
        config["model"]["encoder"]["init_args"]["width"] = self.width
        config["data"]["manifest"] = str(self.folder / f"{self.reading}_{self.knees}_{self.seed}.csv")
        return config  # type: ignore[no-any-return]


def write_manifests(folder: Path, options: argparse.Namespace) -> None:
    """Phantoms, and for each reader, number of knees and seed a manifest with all test knees."""
    tested, most = options.test, max(options.knees)
    oh.make_phantoms(
        folder, tested + options.seeds * most, shape=tuple(options.shape), reader_noise="none",
        progress=False, val=0.0, test=0.5,
    )  # fmt: skip
    table = pd.read_csv(folder / "manifest.csv", dtype=str)
    truth = table["true_kl"].astype(int).tolist()
    test = np.arange(len(table)) < tested
    for reading, seed in product(READERS, range(options.seeds)):
        generator = np.random.default_rng([seed, *reading.encode()])
        reader = reader_matrix(matrix(reading).tolist())
        kl = np.where(test, truth, [read_grade(grade, reader, generator) for grade in truth])
        made = table.assign(kl=kl, oa=(kl >= 2).astype(int), split=np.where(test, "test", "train"))
        first = tested + seed * most
        for knees in options.knees:
            kept = [*range(tested), *range(first, first + knees)]
            write_atomically(folder / f"{reading}_{knees}_{seed}.csv", made.iloc[kept].to_csv(index=False))


def points(folder: Path, options: argparse.Namespace) -> Iterator[Point]:
    """All trainings, seed by seed; the supervisions of one reader, size and seed follow each other."""
    surface = product(range(options.seeds), READERS, options.knees, options.widths, SUPERVISIONS)
    for seed, reading, knees, width, supervision in surface:
        yield Point(folder, supervision, reading, seed, knees, width)


def run_all(folder: Path, options: argparse.Namespace) -> None:
    """Train what has not been trained, in ``--workers`` processes; the first run fills the cache."""
    waiting = [run for run in points(folder, options) if not run.path.is_file()][: options.runs]
    for run in waiting[:1]:
        print(train(run, options), flush=True)
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(train, run, options) for run in waiting[1:]]):
            print(done.result(), flush=True)


def options(words: list[str] | None = None) -> argparse.Namespace:
    """The command line; defaults are those of the published result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/noise"))
    parser.add_argument("--knees", type=int, nargs="+", default=[60, 240], help="training knees of a seed")
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16], help="of the encoder")
    parser.add_argument("--test", type=int, default=600, help="test knees, the same for all")
    parser.add_argument("--shape", type=int, nargs=3, default=(16, 24, 40))
    parser.add_argument("--updates", type=int, default=80, help="of every training, in batches of 24")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, help="train at most so many; 0 for the tables alone")
    return parser.parse_args(words)


def main(arguments: argparse.Namespace) -> pd.DataFrame:
    """Phantoms, readings, trainings and the tables; returns the differences."""
    folder = arguments.folder.absolute()
    write_manifests(folder, arguments)
    run_all(folder, arguments)
    found = write(folder, list(points(folder, arguments)))
    print((folder / "surface.md").read_text())
    return found


if __name__ == "__main__":
    main(options())
