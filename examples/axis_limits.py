"""How many grades do the images of phantoms allow, how many does a network's axis tell apart, what moves it?

Phantoms scanned twice (same anatomy and severity; new pose, coil, noise and resting fluid). Each seed has
training and test knees of its own, shared by all rows, so that intervals over seeds (Student's t) hold for
other knees and other trainings; differences are paired.

    python examples/axis_limits.py --folder runs/axis-limits

First what can be read without a network (``axis_limits_images.py``, ``axis_limits_reader.py``), then
trainings (``axis_limits_training.py``). Run it again to go on after an interruption. ``--quick`` makes
everything in miniature.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from axis_limits_images import measured, regressed
from axis_limits_reader import ideal
from axis_limits_training import ARMS, train
from methods_bench import matrix
from reader_noise import with_interval

import oahier as oh
from oahier.files import write_atomically
from oahier.latent import discernible_grades
from oahier.metrics.association import spearman
from oahier.phantom.cohort import KneePlan
from oahier.phantom.plan import PhantomPlan
from oahier.phantom.readers import read_grade, reader_matrix

GRIDS = {
    "whole": ((16, 24, 40), (7.0, 5.3333, 3.2)),
    "joint": ((24, 24, 40), (3.5, 2.6667, 1.6)),
    "fine": ((48, 48, 80), (1.75, 1.3333, 0.8)),
}
"""Voxels, and their size in mm; the last two hold the joint alone."""
SHARE = {"whole": 1.0, "joint": 1.0, "fine": 0.5}
"""Of the knees that are measured: the finest take long."""
SETS = {
    "exact quantities": ("exact",), "label map": ("labels",), "intensities": ("intensities",),
    "label map and intensities": ("labels", "intensities"), "signal map": ("signal",),
}  # fmt: skip
METRICS = ("discernible", "severity", "in a grade", "in {0,1}", "in {2,3,4}")
PARTS = ("images", "trainings")
QUICK = {"train": 12, "test": 12, "seeds": 2, "epochs": 1, "ideal": 2}


def of_places(place: np.ndarray, table: pd.DataFrame) -> dict[str, float]:
    """The metrics of the places of test scans along an axis, higher for worse knees."""
    severity, grade = table["severity"].to_numpy(float), table["true_kl"].to_numpy(int)
    subjects = table["subject"].tolist()
    inside = [spearman(place[grade == one], severity[grade == one]) for one in range(5)]
    return {
        "discernible": discernible_grades(place.astype(float), subjects, subjects, resamples=2).grades,
        "severity": spearman(place, severity),
        "in a grade": float(np.mean(inside)),
        "in {0,1}": spearman(place[grade < 2], severity[grade < 2]),
        "in {2,3,4}": spearman(place[grade >= 2], severity[grade >= 2]),
    }


def cohort(options: argparse.Namespace, seed: int) -> list[tuple[KneePlan, str]]:
    """Scans of a seed with their split: both scans of its test knees, the first of its training knees."""
    each = options.train + options.test
    scans = PhantomPlan(knees=options.seeds * each, visits=2, rate=0.0).scans()
    own = scans[2 * seed * each : 2 * (seed + 1) * each]
    tested = 2 * options.test
    return [(one, "test") for one in own[:tested]] + [(one, "train") for one in own[tested::2]]


def measure(options: argparse.Namespace, grid: str, seed: int) -> pd.DataFrame:
    """Measurements of the scans of a seed, made once."""
    path = options.folder / "measured" / f"{grid}_{seed}.csv"
    if path.is_file():
        return pd.read_csv(path)
    chosen: list[tuple[KneePlan, str]] = []
    scans = cohort(options, seed)
    for split in ("test", "train"):
        own = [one for one in scans if one[1] == split]
        chosen += own[: 2 * round(SHARE[grid] * len(own) / 2)]
    rows = []
    for plan, split in chosen:
        about = {"subject": plan.subject, "split": split, "severity": plan.severity, "true_kl": plan.true_kl}
        rows.append(about | measured(plan, *GRIDS[grid], signal=grid == "whole"))
    table = pd.DataFrame(rows)
    write_atomically(path, table.to_csv(index=False))
    print(path.stem, "measured", flush=True)
    return table


def best_possible(options: argparse.Namespace, grid: str, seed: int) -> pd.DataFrame:
    """Errors of the ideal reader of some test knees of a seed, made once."""
    path = options.folder / "ideal" / f"{grid}_{seed}.csv"
    if path.is_file():
        return pd.read_csv(path)
    plans = [plan for plan, split in cohort(options, seed) if split == "test" and plan.visit == 0]
    count = max(1, round(SHARE[grid] * options.ideal))
    found = [(plan, ideal(plan, *GRIDS[grid])) for plan in plans[:count]]
    table = pd.DataFrame(
        [{"severity": plan.severity, "spread": one.spread, "repeat": one.repeat} for plan, one in found]
    )
    write_atomically(path, table.to_csv(index=False))
    print(path.stem, "read ideally", flush=True)
    return table


def drawn_ideally(errors: pd.DataFrame, scans: pd.DataFrame, seed: int) -> dict[str, float]:
    """Metrics of an ideal reader, whose error at a severity is that of the nearest knee that was examined."""
    rng = np.random.default_rng(seed)
    nearest = np.abs(scans["severity"].to_numpy()[:, None] - errors["severity"].to_numpy()).argmin(axis=1)
    spread, repeat = (errors[name].to_numpy()[nearest] for name in ("spread", "repeat"))
    knees, at = np.unique(scans["subject"], return_inverse=True)
    own = np.sqrt(np.clip(spread**2 - repeat**2, 0, None)) * rng.normal(size=len(knees))[at]
    return of_places(scans["severity"].to_numpy() + own + repeat * rng.normal(size=len(scans)), scans)


def of_images(options: argparse.Namespace) -> pd.DataFrame:
    """What the images allow: a row for each grid, set of measurements and seed."""
    rows = []
    for grid in options.grids:
        for seed in range(options.seeds):
            table = measure(options, grid, seed)
            test = table["split"] == "test"
            for name, kinds in SETS.items():
                if any(column.split(":")[0] in kinds for column in table):
                    place = regressed(table, kinds)[test]
                    rows.append({"grid": grid, "row": name, "seed": seed, **of_places(place, table[test])})
            errors = best_possible(options, grid, seed)
            bound = drawn_ideally(errors, table[test].reset_index(), seed)
            rows.append({"grid": grid, "row": "ideal reader", "seed": seed, **bound})
    return pd.DataFrame(rows)


def write_manifests(options: argparse.Namespace, grid: str, sets: set[str]) -> None:
    """Phantoms of a grid and the manifests of every seed: read, true, more knees, both scans."""
    folder, each = options.folder / grid, options.train + options.test
    table = phantoms(folder, options.seeds * each, grid, visits=2, rate=0.0)
    if "more" in sets:
        added = phantoms(folder / "more", 3 * options.train * options.seeds, grid, seed=1)
        added["mri"], added["cartilage"] = "more/" + added["mri"], "more/" + added["cartilage"]
        added["knee"], added["subject"] = "M" + added["knee"], "M" + added["subject"]
    reader = reader_matrix(matrix("block-40").tolist())
    for seed in range(options.seeds):
        own = table.iloc[2 * seed * each : 2 * (seed + 1) * each]
        own = own.assign(split=np.where(np.arange(2 * each) < 2 * options.test, "test", "train"))
        first = own[(own["split"] == "test") | (own["visit"] == "V00")]
        for name in sets:
            rows = own if name == "both" else first
            if name == "more":
                more = added.iloc[3 * options.train * seed : 3 * options.train * (seed + 1)]
                rows = pd.concat([first, more.assign(split="train")])
            made = labelled(rows, None if name == "true" else reader, seed)
            write_atomically(folder / f"{name}_{seed}.csv", made.to_csv(index=False))


def phantoms(folder: Path, knees: int, grid: str, **more: float) -> pd.DataFrame:
    """Phantoms on a grid, made once, and their manifest."""
    shape, spacing = GRIDS[grid]
    oh.make_phantoms(
        folder, knees, shape=shape, spacing=spacing, reader_noise="none", progress=False, **more
    )  # fmt: skip
    return pd.read_csv(folder / "manifest.csv", dtype=str)


def labelled(rows: pd.DataFrame, reader: np.ndarray | None, seed: int) -> pd.DataFrame:
    """Training grades as a reader writes them down, one reading a knee; test grades are true."""
    truth = rows["true_kl"].astype(int)
    kl = truth.copy()
    if reader is not None:
        for at, (subject, split, grade) in enumerate(zip(rows["subject"], rows["split"], truth, strict=True)):
            if split == "train":
                rng = np.random.default_rng([seed, *subject.encode()])
                kl.iloc[at] = read_grade(int(grade), reader, rng)
    exact = 5 * rows["severity"].astype(float) - 0.5
    return rows.assign(kl=kl, oa=(kl >= 2).astype(int), exact=exact)


def of_trainings(options: argparse.Namespace) -> pd.DataFrame:
    """What trained axes tell apart: a row for each arm, kind of axis and seed."""
    rows = []
    arms = {name: arm for name, arm in ARMS.items() if not options.arms or name in options.arms}
    for grid in {arm.grid for arm in arms.values()}:
        write_manifests(options, grid, {arm.manifest for arm in arms.values() if arm.grid == grid})
    for name, arm in arms.items():
        for seed in range(options.seeds):
            path = options.folder / "trained" / f"{name.replace(' ', '-')}_{seed}.npz"
            if not path.is_file():
                train(path, options.folder, arm, seed, GRIDS[arm.grid], options.epochs)
                print(path.stem, "trained", flush=True)
            rows += placed_rows(path, options.folder / arm.grid / "manifest.csv", name, seed)
    return pd.DataFrame(rows)


def placed_rows(path: Path, manifest: Path, name: str, seed: int) -> list[dict[str, object]]:
    """Metrics of every kind of axis of a training."""
    said = dict(np.load(path, allow_pickle=False))
    truth = pd.read_csv(manifest).set_index("knee").loc[said.pop("knee")]
    rows = []
    for key, place in said.items():
        axis, comma, averaged = key.partition(", ")
        rows.append({"row": name + comma + averaged, "axis": axis, "seed": seed, **of_places(place, truth)})
    return rows


def summary(found: pd.DataFrame, keys: Sequence[str], baseline: Mapping[str, str]) -> pd.DataFrame:
    """Mean over seeds with its t interval, and the paired difference from the baseline with its own.

    The baseline has the same levels but for one.
    """
    rows = []
    for levels, own in found.groupby(list(keys), sort=False):
        other_levels = dict(zip(keys, levels, strict=True)) | dict(baseline)
        first = found[np.logical_and.reduce([found[key] == level for key, level in other_levels.items()])]
        for metric in METRICS:
            values, other = own.set_index("seed")[metric], first.set_index("seed")[metric]
            mean, low, high = with_interval(values)
            row = {**dict(zip(keys, levels, strict=True)), "metric": metric, "seeds": len(values)}
            row |= {"value": mean, "ci_low": low, "ci_high": high}
            gain, gain_low, gain_high = with_interval((values - other).dropna())
            rows.append(row | {"difference": gain, "difference_low": gain_low, "difference_high": gain_high})
    return pd.DataFrame(rows)


def page(rows: pd.DataFrame, keys: Sequence[str]) -> str:
    """Tables of values and of differences from the baseline, as on the page."""
    tables = []
    for value, ends in (("value", "ci"), ("difference", "difference")):
        lines = [f"| {' | '.join((*keys, *METRICS))} |", "|---" * (len(keys) + len(METRICS)) + "|"]
        for levels, own in rows.groupby(list(keys), sort=False):
            cells = []
            for _, row in own.iterrows():
                digits = 1 if row["metric"] == "discernible" else 2
                low, high = (f"{row[f'{ends}_{end}']:.{digits}f}" for end in ("low", "high"))
                cells.append(f"{row[value]:.{digits}f} [{low}, {high}]".replace("-", "\N{MINUS SIGN}"))
            lines.append(f"| {' | '.join((*levels, *cells))} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables) + "\n"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; defaults are those of the published result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/axis-limits"))
    parser.add_argument("--train", type=int, default=240, help="training knees of each seed")
    parser.add_argument("--test", type=int, default=120, help="test knees of each seed, scanned twice")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--ideal", type=int, default=12, help="knees of each seed that are read ideally")
    parser.add_argument(
        "--grids",
        nargs="*",
        choices=list(GRIDS),
        default=list(GRIDS),
        help="sizes of voxels that are measured",
    )
    parser.add_argument(
        "--arms", nargs="*", choices=list(ARMS), help="only these trainings; all when not given"
    )
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="everything in miniature")
    return parser.parse_args(words)


def main(options: argparse.Namespace) -> dict[str, pd.DataFrame]:
    """Both parts, and their tables ``images.csv`` and ``trainings.csv``."""
    options.folder = options.folder.absolute()
    if options.quick:
        vars(options).update(QUICK)
    parts = {
        "images": (of_images, ("grid", "row"), {"grid": "whole"}),
        "trainings": (of_trainings, ("row", "axis"), {"row": "baseline"}),
    }
    made = {}
    for part in options.parts:
        function, keys, baseline = parts[part]
        made[part] = summary(function(options), keys, baseline)
        write_atomically(options.folder / f"{part}.csv", made[part].to_csv(index=False, float_format="%.4g"))
        write_atomically(options.folder / f"{part}.md", page(made[part], keys))
        print(page(made[part], keys))
    return made


if __name__ == "__main__":
    main(arguments())
