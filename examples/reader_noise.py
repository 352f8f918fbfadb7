"""How much of a reader's matrix can be known from how much data?

Simulated knees: a severity, four features that follow it with noise (in the place of an image), and readers
whose matrix T is known. T is estimated in six ways, from one reading to three, with and without the features,
and compared with the truth by the largest absolute error of its entries. The floor is the table of truth by
reading, which nobody has: it errs because knees are few. Then the gain: a head that is corrected by the T of
its reader, or that learns T, against one that is not, on knees with known grades.

    python examples/reader_noise.py --folder runs/reader-noise

Takes about ten minutes on two cores; writes matrices.csv and gain.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student

import oahier as oh
from oahier.files import write_atomically
from oahier.heads import Probit
from oahier.losses import KnownReader, LearnedReader, Reader, ReaderNoise
from oahier.metrics import weighted_qwk
from oahier.noise import ADJUDICATED_BLOCKS, dawid_skene
from oahier.phantom.readers import BLOCK_NOISE

GRADES = np.arange(5)


def reader(agreement: float, kind: str) -> np.ndarray:
    """A reader with this chance of the exact grade; errors stay in the block, or fall off with distance."""
    near = np.array(BLOCK_NOISE) if kind == "block" else np.exp(-np.abs(GRADES[:, None] - GRADES[None, :]))
    errors = near * (1 - np.eye(5))
    return agreement * np.eye(5) + (1 - agreement) * errors / errors.sum(axis=1, keepdims=True)


def simulate(
    knees: int, matrix: np.ndarray, readers: int, rng: np.random.Generator
) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Features ``(knees, 4)``, true grades, and readings ``(knees, readers)``."""
    severity = rng.uniform(0, 5, knees)
    truth = severity.astype(np.int64)
    features = severity[:, None] - 2.5 + rng.normal(size=(knees, 4))
    cumulative = matrix[truth].cumsum(axis=1)[:, None, :]
    readings = (rng.random((knees, readers, 1)) > cumulative).sum(axis=2).clip(max=4)
    return torch.tensor(features), truth, readings


def fitted(
    features: torch.Tensor, readings: np.ndarray, readers: list[Reader] | None
) -> tuple[oh.Head, np.ndarray]:
    """An ordinal head of the features at its maximum likelihood, and the matrix of the first reader."""
    torch.manual_seed(0)
    columns = [f"reading_{number}" for number in range(readings.shape[1])]
    criterion = None if readers is None else ReaderNoise(readers)
    head = oh.CumulativeHead(5, link=Probit(), criterion=criterion, target=columns)
    head.build(features.shape[1])
    head.double()
    labels = torch.from_numpy(readings)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=150, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = head.reading_losses(head(features), labels).mean()
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)
    matrix = np.eye(5) if readers is None else readers[0].log_matrix().exp().detach().numpy()
    return head, matrix


def estimators(kind: str) -> dict[str, tuple[int, Callable[..., np.ndarray]]]:
    """Number of readings and estimate of the first reader's matrix, by name."""
    blocks = ADJUDICATED_BLOCKS if kind == "block" else None

    def floor(_: torch.Tensor, truth: np.ndarray, readings: np.ndarray) -> np.ndarray:
        table = np.zeros((5, 5))
        np.add.at(table, (truth, readings[:, 0]), 1)
        return table / table.sum(axis=1, keepdims=True)

    def learned(known: tuple[int, ...] | None) -> Callable[..., np.ndarray]:
        def estimate(features: torch.Tensor, _: np.ndarray, readings: np.ndarray) -> np.ndarray:
            readers: list[Reader] = [LearnedReader(known, gain=1.0) for _ in readings.T]
            return fitted(features, readings, readers)[1]

        return estimate

    def table(anchored: float) -> Callable[..., np.ndarray]:
        def estimate(_: torch.Tensor, truth: np.ndarray, readings: np.ndarray) -> np.ndarray:
            anchors = np.where(np.arange(len(truth)) < anchored * len(truth), truth, -1)
            found = dawid_skene(readings.astype(np.int64), 5, blocks=blocks, truth=anchors, resamples=2)
            return np.asarray(found.matrices[0])

        return estimate

    made = {
        "truth of every knee (floor)": (1, floor),
        "one reading, features": (1, learned(None)),
        "one reading, features, clean OA": (1, learned(ADJUDICATED_BLOCKS)),
        "two readings, features": (2, learned(blocks)),
        "two readings alone": (2, table(0.0)),
        "two readings, truth of a quarter": (2, table(0.25)),
        "three readings alone": (3, table(0.0)),
    }
    if kind == "across":
        del made["one reading, features, clean OA"]
    return made


def with_interval(values: Sequence[float] | pd.Series) -> tuple[float, float, float]:
    """Mean over seeds and its 95 % t interval."""
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1)) / np.sqrt(len(values))
    width = float(student.ppf(0.975, len(values) - 1)) * spread
    return mean, mean - width, mean + width


def matrices(options: argparse.Namespace) -> pd.DataFrame:
    """Largest error of T by estimator, reader and number of knees."""
    rows = []
    for kind in ("block", "across"):
        for agreement in options.agreements:
            for knees in options.knees:
                for name, (readers, estimate) in estimators(kind).items():
                    errors = []
                    for seed in range(options.seeds):
                        rng = np.random.default_rng([seed, knees])
                        known = reader(agreement, kind)
                        errors.append(np.abs(estimate(*simulate(knees, known, readers, rng)) - known).max())
                    rows.append((kind, agreement, knees, name, *with_interval(errors)))
                    print(*rows[-1], flush=True)
    return pd.DataFrame(rows, columns=["errors", "agreement", "knees", "from", "error", "ci_low", "ci_high"])


def gain(options: argparse.Namespace) -> pd.DataFrame:
    """QWK with the true grade on 4,000 other knees: corrected minus uncorrected, one reading."""
    rows = []
    for kind in ("block", "across"):
        for agreement in options.agreements:
            for knees in options.knees:
                gains: dict[str, list[float]] = {"known T": [], "learned T": []}
                for seed in range(options.seeds):
                    rng = np.random.default_rng([seed, knees])
                    known = reader(agreement, kind)
                    features, _, readings = simulate(knees, known, 1, rng)
                    others, truth, _ = simulate(4000, known, 1, rng)
                    blocks = ADJUDICATED_BLOCKS if kind == "block" else None
                    ways: dict[str, list[Reader] | None] = {
                        "none": None,
                        "known T": [KnownReader(known.tolist())],
                        "learned T": [LearnedReader(blocks, gain=1.0)],
                    }
                    found = {
                        way: _qwk(fitted(features, readings, ways[way])[0], others, truth) for way in ways
                    }
                    for way, values in gains.items():
                        values.append(found[way] - found["none"])
                rows += [(kind, agreement, knees, way, *with_interval(gains[way])) for way in gains]
                print(*rows[-2:], sep="\n", flush=True)
    return pd.DataFrame(
        rows, columns=["errors", "agreement", "knees", "correction", "gain", "ci_low", "ci_high"]
    )


@torch.no_grad()
def _qwk(head: oh.Head, features: torch.Tensor, truth: np.ndarray) -> float:
    predicted = head.log_probabilities(head(features)).argmax(dim=1).numpy()
    return float(weighted_qwk(np.ones((1, len(truth))), predicted, truth)[0])


def main(options: argparse.Namespace) -> None:
    """Simulate, estimate, and write both tables."""
    torch.set_num_threads(1)
    for name, table in (("gain", gain(options)), ("matrices", matrices(options))):
        write_atomically(options.folder / f"{name}.csv", table.to_csv(index=False, float_format="%.4f"))


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line; defaults are those of the published tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/reader-noise"))
    parser.add_argument("--knees", type=int, nargs="+", default=[400, 4000])
    parser.add_argument("--agreements", type=float, nargs="+", default=[0.77, 0.55, 0.4])
    parser.add_argument("--seeds", type=int, default=10)
    return parser.parse_args(words)


if __name__ == "__main__":
    main(arguments())
