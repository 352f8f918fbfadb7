"""Every method under one protocol, on phantoms whose readers disagree, against the truth.

One model at a time differs from the baseline (Dual, softmax, cross-entropy, fixed weights) in its
supervision, head, criterion, treatment of noise, term or weighting. Readers agree with the truth in 100, 70
or 40 % of knees and err inside {0, 1} and {2, 3, 4}, or agree in 70 % and err across. Each seed has training
knees, a reading, a start and an order of its own, which all methods share; all are tested on the same knees,
by their true severity and grade. Nothing is selected.

    python examples/methods_bench.py --folder runs/methods --workers 2

A run takes a few seconds; all 775 take an hour or two on two cores. Run it again to go on after an
interruption, and with ``--runs 0`` for the tables of what there is (``methods_tables.py``). ``--quick``
trains a few small models of one reader, to see that everything works.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from methods_tables import write

import oahier as oh
from oahier.files import write_atomically
from oahier.phantom.readers import BLOCK_NOISE, read_grade, reader_matrix
from oahier.study import Plan
from oahier.study.configuration import instantiate, resolve
from oahier.study.methods import CRITERIA, HEADS, TERMS, WEIGHTINGS
from oahier.study.presets import level_overrides
from oahier.study.quiet import quietly

READINGS = {"block-100": 1.0, "block-70": 0.7, "block-40": 0.4, "across-70": 0.7}
SUPERVISIONS = [
    ("single-oa", "single-kl"), ("single-oa", "dual"), ("single-kl", "dual"), ("single-oa", "coherent"),
    ("single-kl", "coherent"), ("dual", "coherent"),
]  # fmt: skip
QUICK = {
    "knees": 12, "test": 40, "shape": (12, 16, 16), "epochs": 1, "seeds": 2, "workers": 1,
    "methods": ["dual", "single-kl", "known", "coral"], "readings": ["block-70"],
}  # fmt: skip
NOISIEST = ("block-40", "block-100", "across-70", "block-70")
BASELINE = "dual"
FIRST = (
    "single-kl", "single-oa", "coherent", "known", "learned-block", "two-readings", "two-readers",
    "cumulative", "coral", "corn", "regression", "continuation", "binomial", "sord", "earth-mover",
    "balanced", "focal", "generalised", "hierarchical", "rank-n-contrast", "axis-order", "consistency",
    "uncertainty", "pcgrad",
)  # fmt: skip
"""Methods that are run before the others."""

_READINGS = ["kl", "kl_2"]
_TWO = {"model.heads.kl.init_args.target": _READINGS, "data.targets": ["oa", *_READINGS]}
_COHERENT = {
    "model.heads.oa": {"class_path": "oahier.heads.MarginalHead"},
    "model.heads.kl": {"class_path": "oahier.heads.ConditionalHead"},
    "model.probes": ["oa"],
}
Levels = Mapping[str, Any]


def matrix(reading: str) -> np.ndarray:
    """The reader: its agreement, and errors in the blocks or falling off with the distance of grades."""
    grades = np.arange(5)
    apart = np.abs(grades[:, None] - grades)
    near = np.exp(-apart) if reading.startswith("across") else np.array(BLOCK_NOISE)
    errors, agreement = near * (1 - np.eye(5)), READINGS[reading]
    return agreement * np.eye(5) + (1 - agreement) * errors / errors.sum(axis=1, keepdims=True)


def methods(reading: str) -> dict[str, tuple[str, Levels]]:
    """Kind and levels of every method by name; levels that are mappings replace values of the baseline."""
    known = {"class_path": "oahier.losses.KnownReader", "init_args": {"matrix": matrix(reading).tolist()}}
    across = reading.startswith("across")
    full = [{"class_path": "oahier.losses.LearnedReader"}] * 2  # such readers leave the blocks
    noises: dict[str, Any] = {
        "known": {"noise": [known]}, "learned": "learned", "learned-block": "learned-block",
        "two-readings": _TWO, "two-readers": {"noise": full} if across else "two-readers",
    }  # fmt: skip
    found: dict[str, tuple[str, Levels]] = {BASELINE: ("supervision", {})}
    found |= {name: ("supervision", {"supervision": name}) for name in ("single-kl", "single-oa")}
    found["coherent"] = ("supervision", {"supervision": _COHERENT})
    found |= {name: ("head", {"head": name}) for name in HEADS if name not in ("softmax", "conditional")}
    found |= {name: ("criterion", {"criterion": name}) for name in CRITERIA if name != "cross-entropy"}
    found |= {name: ("noise", {"noise": level}) for name, level in noises.items()}
    found |= {name: ("term", {"term": name}) for name in TERMS if name != "none"}
    found |= {name: ("weighting", {"weighting": name}) for name in WEIGHTINGS if name != "fixed"}
    order = [BASELINE, *FIRST, *(name for name in found if name not in FIRST and name != BASELINE)]
    return {name: found[name] for name in order}


@dataclass(frozen=True)
class Run:
    """One training: a method, a reading and a seed."""

    folder: Path
    method: str
    reading: str
    seed: int

    @property
    def path(self) -> Path:
        """Its predictions of the test knees."""
        return self.folder / "runs" / f"{self.method}_{self.reading}_{self.seed}.npz"

    def config(self, options: argparse.Namespace) -> Mapping[str, Any]:
        """The configuration, as a study would make it of the same names."""
        shape = options.shape
        base = {
            "trainer": {"max_epochs": options.epochs, "accelerator": "cpu"},
            "model": {
                "encoder": {
                    "class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8, "norm": "batch"},
                },
                "optimizer": {
                    "class_path": "torch.optim.AdamW", "init_args": {"lr": 0.004, "weight_decay": 0.01},
                },
                "lr_scheduler": {"class_path": "oahier.CosineSchedule"},
            },
            "data": {
                "manifest": str(self.folder / f"{self.reading}_{self.seed}.csv"),
                "cache": str(self.folder / "cache"), "shape": list(shape), "spacing": spacing(shape),
                "batch_size": 24, "augmentation": None,
            },
        }  # fmt: skip
        levels = {"supervision": "dual", **methods(self.reading)[self.method][1], "seed": self.seed}
        grid = {
            axis: {
                str(name): value
                if isinstance(value, dict)
                else level_overrides(axis, str(value), value, None)
            }
            for axis, value in levels.items()
            for name in ["own" if isinstance(value, dict) else value]
        }
        (cell,) = Plan("bench", base, grid, monitor=None).cells()
        return resolve(cell.config, cell.name)


def spacing(shape: tuple[int, int, int]) -> list[float]:
    """Millimetres a voxel, such that every phantom fills the volume."""
    return [round(side / voxels, 6) for side, voxels in zip((112, 128, 128), shape, strict=True)]


def write_manifests(folder: Path, options: argparse.Namespace) -> None:
    """Phantoms, and for each reading and seed a manifest of its training knees and all test knees."""
    tested, knees = options.test, options.knees
    oh.make_phantoms(
        folder, tested + options.seeds * knees, shape=tuple(options.shape), reader_noise="none",
        progress=False, val=0.0, test=0.5,
    )  # fmt: skip
    table = pd.read_csv(folder / "manifest.csv", dtype=str)
    truth = table["true_kl"].astype(int).tolist()
    for reading in READINGS:
        reader = reader_matrix(matrix(reading).tolist())
        for seed in range(options.seeds):
            generator = np.random.default_rng([seed, *reading.encode()])
            test = np.arange(len(table)) < tested
            read = [[read_grade(grade, reader, generator) for grade in truth] for _ in _READINGS]
            kl, kl_2 = (np.where(test, truth, one) for one in read)
            made = table.assign(
                kl=kl, kl_2=kl_2, oa=(kl >= 2).astype(int), split=np.where(test, "test", "train")
            )
            first = tested + seed * knees
            kept = [*range(tested), *range(first, first + knees)]
            write_atomically(folder / f"{reading}_{seed}.csv", made.iloc[kept].to_csv(index=False))


def train(run: Run, options: argparse.Namespace) -> str:
    """Train one model and write what it says of the test knees."""
    torch.set_num_threads(1)
    started = time.monotonic()
    with quietly():
        L.seed_everything(run.seed, verbose=False)
        parts = instantiate(run.config(options))
        trainer = L.Trainer(
            **{key: value for key, value in parts.trainer.items() if value is not None}
            | {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False},
            enable_model_summary=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
        )
        trainer.fit(parts.model, datamodule=parts.data)
        seconds = time.monotonic() - started
        parts.data.setup("test")
        parts.model.eval()
        with torch.inference_mode():
            said = [parts.model.predict_step(batch, 0) for batch in parts.data.test_dataloader()]
    content = io.BytesIO()
    np.savez_compressed(
        content,
        knee=np.array([knee for one in said for knee in one["knee"]]),
        kl=torch.cat([one["probabilities"]["kl"] for one in said]).numpy(),
        oa=torch.cat([one["probabilities"]["oa"] for one in said])[:, 1].numpy(),
        severity=torch.cat([one["severity"]["kl"] for one in said]).numpy(),
        seconds=seconds,
    )
    write_atomically(run.path, content.getvalue())
    return f"{run.path.stem} {seconds:.1f} s"


def runs(folder: Path, options: argparse.Namespace) -> Iterator[Run]:
    """All runs, the most telling first; a reader who never errs needs no matrix.

    Supervisions and treatments of noise with every reader, then the others reader by reader.
    """
    kinds = {name: kind for name, (kind, _) in methods("block-100").items()}
    chosen = [name for name in kinds if not options.methods or name in options.methods]
    early = [name for name in chosen if kinds[name] in ("supervision", "noise")]
    late = [name for name in chosen if name not in early]
    order = [(name, reading) for name in early for reading in READINGS]
    order += [(name, reading) for reading in NOISIEST for name in late]
    order = [one for one in order if not options.readings or one[1] in options.readings]
    for method, reading in order:
        if not (kinds[method] == "noise" and reading == "block-100"):
            yield from (Run(folder, method, reading, seed) for seed in range(options.seeds))


def run_all(folder: Path, options: argparse.Namespace) -> None:
    """Train what has not been trained, in ``--workers`` processes; the first run fills the cache."""
    waiting = [run for run in runs(folder, options) if not run.path.is_file()][: options.runs]
    for run in waiting[:1]:
        print(train(run, options), flush=True)
    context = get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        started = {pool.submit(train, run, options): run for run in waiting[1:]}
        for done in as_completed(started):
            print(done.result(), flush=True)


def options(words: list[str] | None = None) -> argparse.Namespace:
    """The command line; defaults are those of the published result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/methods"))
    parser.add_argument("--knees", type=int, default=240, help="training knees of each seed")
    parser.add_argument("--test", type=int, default=600, help="test knees, the same for all")
    parser.add_argument("--shape", type=int, nargs=3, default=(16, 24, 40))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--methods", nargs="*", help="only these; all when not given")
    parser.add_argument("--readings", nargs="*", help="only these")
    parser.add_argument("--quick", action="store_true", help="a few small models")
    parser.add_argument("--runs", type=int, help="train at most so many; 0 for the tables alone")
    return parser.parse_args(words)


def main(arguments: argparse.Namespace) -> pd.DataFrame:
    """Phantoms, readings, training and tables."""
    folder = arguments.folder.absolute()
    if arguments.quick:
        vars(arguments).update(QUICK)
    write_manifests(folder, arguments)
    run_all(folder, arguments)
    found = write(folder, list(methods("block-100")), list(READINGS), arguments.seeds, BASELINE, SUPERVISIONS)
    told = found[found["metric"].isin(["severity", "in {0,1}", "qwk"])]
    print(told[["reading", "method", "metric", "difference", "ci_low", "ci_high", "p_adjusted"]].to_string())
    return found


if __name__ == "__main__":
    main(options())
