"""Which saliency method finds the cause of a grade, and which one finds a planted shortcut?

Phantom knees know in which voxels they differ from the same knee without disease. Encoders are trained on
phantoms of a single cause, or with a shortcut that goes with OA; held-out knees with OA are then explained by
every method, and the maps are compared with that truth, beside the floors: chance, the image itself, the same
method with random weights, and the truth of other knees.

    python examples/saliency_truth.py --folder runs/saliency-truth

Run it again to go on after an interruption, or with more backbones, targets and seeds: a trained and
explained cell is a file. Every seed has subjects of its own. ``answer.md`` says which method finds what,
``shortcuts.md`` in how many runs a planted shortcut was named, and in how many one that was not there. With
``--probe`` the acquisition of held-out knees is changed instead, and the movement of their scores read. See
docs/concepts/saliency-truth.md for the result and its size.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

import oahier as oh
from oahier.callbacks.acquisition_probe import movements
from oahier.files import write_atomically
from oahier.metrics.association import auc
from oahier.phantom import CAUSES, CoilGain, CornerMark, NarrowField, PhantomPlan, phantom_knee, signal_region
from oahier.phantom.shortcuts import Shortcut
from oahier.saliency import (
    ActivationMap,
    AttentionRollout,
    CornerBlock,
    ExplainedKnees,
    FusedActivationMaps,
    GainRamp,
    InputItself,
    IntegratedGradients,
    Occlusion,
    SaliencyMethod,
    SmallerField,
    SmoothGrad,
    acquisition_changes,
    cascading_randomisation,
    deletion_insertion,
    map_agreement,
    peak_distance,
    random_pairs,
    random_weights,
    region_areas,
    region_overlap,
    repeatability,
    resample,
    score_shifts,
)
from oahier.statistics import summarise_values

SHORTCUTS: dict[str, Shortcut] = {"mark": CornerMark(), "gain": CoilGain(), "field": NarrowField()}
BACKBONES: dict[str, Callable[[], Any]] = {
    "resnet3d": lambda: oh.ResNet3D(depth=10, width=8, norm="batch"),
    "timm3d_resnet18": lambda: "timm3d/resnet18",
    "m3t": lambda: oh.M3T(4, slice_network(), width=32, depth=2, heads=4),
    "nnmamba": lambda: oh.NnMamba(channels=4, blocks=1),
}
DEFAULT = (ActivationMap().name, IntegratedGradients().name)
"""What `CartilageSaliency` uses: in every epoch, and in tests."""
ABSENT = ("mark", "field")
"""Shortcuts that lie at one place, and are looked for in knees that do not have them."""
USED = 0.1
"""Share of the difference of scores between the grades above which a planted shortcut counts as used."""
UNRELATED = {f"unrelated-{name}": name for name in ABSENT}
"""Shortcuts that come to half the training knees of either grade, so that a model learns to ignore them."""


def slice_network() -> nn.Module:
    """A small network for the slices of M3T, with a stride of 8."""
    widths = (4, 16, 32, 32)
    stages = [
        (nn.Conv2d(before, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        for before, width in itertools.pairwise(widths)
    ]
    return nn.Sequential(*(layer for stage in stages for layer in stage))


@dataclass(frozen=True)
class Knees:
    """Phantoms as a network sees them, with the truth."""

    mri: Tensor
    grade: Tensor
    region: Tensor
    """``(knees, i, j, k)`` voxels that hold 95 % of what differs from the healthy knee."""
    spacing: Tensor


@lru_cache(maxsize=8)
def phantoms(target: str, first: int, count: int, shape: tuple[int, int, int], seed: int) -> Knees:
    """Knees of KL 0 and 4 alternately, with one cause, with all (``"all"``), or with all and a shortcut.

    An unrelated shortcut comes to half the training knees (``first`` is 0), and to all that are held out.
    """
    causes = [target] if target in CAUSES else list(CAUSES)
    weights = (1.0, 0.0, 0.0, 0.0, 1.0)
    plan = PhantomPlan(knees=first + count, shape=shape, seed=seed, grade_weights=weights)
    scans = plan.scans()[first:]
    volumes, regions, spacing = [], [], (1.0, 1.0, 1.0)
    shortcut = SHORTCUTS.get(UNRELATED.get(target, target))
    coins = np.random.default_rng(seed).random(count) < (0.5 if first == 0 else 1.0)
    for scan, coin in zip(scans, coins.tolist(), strict=True):
        mark = shortcut if (coin if target in UNRELATED else scan.true_kl >= 2) else None
        knee = phantom_knee(
            scan.severity, shape=shape, side=scan.side, anatomy=scan.anatomy, scan=scan.scan, causes=causes,
            shortcut=mark,
        )  # fmt: skip
        volumes.append((knee.mri - knee.mri.mean()) / knee.mri.std())
        regions.append(signal_region(knee.signal_map("shortcut" if shortcut else None)))
        spacing = tuple(float(step) for step in np.diag(knee.affine)[:3])  # type: ignore[assignment]
    return Knees(
        torch.from_numpy(np.stack(volumes))[:, None],
        torch.tensor([scan.true_kl for scan in scans]),
        torch.from_numpy(np.stack(regions)),
        torch.tensor(spacing).expand(count, 3),
    )


def trained(backbone: str, knees: Knees, epochs: int, seed: int) -> oh.HierarchicalClassifier:
    """A dual model, in evaluation mode."""
    torch.manual_seed(seed)
    heads: dict[str, oh.Head] = {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()}
    model = oh.HierarchicalClassifier(BACKBONES[backbone](), heads).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    labels = {"oa": (knees.grade >= 2).long(), "kl": knees.grade}
    for _ in range(epochs):
        for some in torch.randperm(len(knees.mri)).split(8):
            optimizer.zero_grad()
            logits = model(knees.mri[some])
            sum(heads[name].loss(logits[name], labels[name][some]) for name in heads).backward()  # type: ignore[union-attr]
            optimizer.step()
        schedule.step()
    return model.eval()


def methods(backbone: str, *, few: bool = False) -> list[SaliencyMethod]:
    """Everything that can explain this encoder, or the defaults and a few others."""
    if few:
        rollout: list[SaliencyMethod] = [AttentionRollout()] if backbone == "m3t" else []
        return [
            InputItself(), ActivationMap(), *rollout, SmoothGrad(), IntegratedGradients(),
            Occlusion((4, 6, 6)),
        ]  # fmt: skip
    found: list[SaliencyMethod] = [InputItself(), ActivationMap("gradcam"), ActivationMap("gradcam++")]
    if backbone != "m3t":
        found += [
            ActivationMap(kind, stage) for kind in ("gradcam", "hirescam") for stage in (-2, -3, -4, -5)
        ]  # type: ignore[arg-type]
        found += [
            *(ActivationMap("layercam", stage) for stage in (-3, -5)),
            FusedActivationMaps((-1, -2, -3)),
        ]
        found += [FusedActivationMaps((-1, -4, -5), "layercam")]
    else:
        found += [ActivationMap("hirescam"), AttentionRollout()]
    found += [SmoothGrad(times_input=flag) for flag in (True, False)]
    found += [IntegratedGradients(8, times_input=flag) for flag in (True, False)]
    return [*found, Occlusion((4, 6, 6))]


def explained(model: oh.HierarchicalClassifier, mri: Tensor) -> ExplainedKnees:
    """The expected KL grade of some knees."""
    head: Any = model.heads["kl"]
    with torch.no_grad():
        features = model.encoder.features(mri)
    names = [str(number) for number in range(len(mri))]
    return ExplainedKnees(model.encoder, lambda e: head.severity(head(e)), mri, features, names)


def maps(model: oh.HierarchicalClassifier, mri: Tensor, method: SaliencyMethod) -> Tensor:
    """``(knees, i, j, k)``."""
    with torch.no_grad():
        parts = [method(explained(model, some)).float() for some in mri.split(4)]
        return torch.cat([resample(part, mri.shape[2:]) for part in parts])


def measured(
    model: oh.HierarchicalClassifier, knees: Knees, method: SaliencyMethod, perturbed: int,
    absent: dict[str, Tensor],
) -> pd.DataFrame:  # fmt: skip
    """Metrics of every knee, beside the floors, in the region of the target and in absent ones."""
    start = time.process_time()
    heat = maps(model, knees.mri, method)
    seconds = (time.process_time() - start) / len(heat)
    with random_weights(model.encoder, model.heads, generator=torch.Generator().manual_seed(0)):
        drawn = maps(model, knees.mri, method)
    tables = [against(region, heat, drawn, knees.spacing).assign(region=name)
              for name, region in {"": knees.region, **absent}.items()]  # fmt: skip
    gain = torch.full((len(heat),), torch.nan).double()
    if perturbed:
        score = explained(model, knees.mri[:1]).of_volume
        gain[:perturbed] = deletion_insertion(score, knees.mri[:perturbed], heat[:perturbed])[
            "insertion_gain"
        ]
    tables[0]["gain"] = gain.numpy()
    return pd.concat(tables).assign(method=method.name, seconds=seconds)


def against(region: Tensor, heat: Tensor, drawn: Tensor, spacing: Tensor) -> pd.DataFrame:
    """Overlap of maps, and of those of random weights, with a region, a row a knee."""
    indices = [row.nonzero()[:, 0] for row in region.flatten(1)]
    found = region_overlap(heat.flatten(1), indices, top_percent=())
    found |= region_areas(heat.flatten(1), indices)
    found["peak_mm"] = peak_distance(heat, region, spacing)
    found["enrichment_random"] = region_overlap(drawn.flatten(1), indices, top_percent=())["enrichment"]
    found["auroc_random"] = region_areas(drawn.flatten(1), indices)["auroc"]
    shares = heat.flatten(1).double() / heat.flatten(1).double().sum(dim=1, keepdim=True)
    there = region.flatten(1).double()
    others = shares @ there.T / there.mean(dim=1)
    found["enrichment_others"] = (others.sum(dim=1) - others.diagonal()) / (len(others) - 1)
    return pd.DataFrame({name: value.numpy() for name, value in found.items()})


def stability(model: oh.HierarchicalClassifier, other: oh.HierarchicalClassifier, mri: Tensor,
              method: SaliencyMethod) -> dict[str, Any]:  # fmt: skip
    """Cascading randomisation, repeatability and reproducibility, beside the floor of random pairs."""
    heat, generator = maps(model, mri, method), torch.Generator().manual_seed(0)
    stages = {"head": model.heads["kl"], **dict(reversed(list(model.encoder.named_children())))}
    cascade = cascading_randomisation(lambda: maps(model, mri, method), stages, generator=generator)
    repeated = repeatability(lambda volume: maps(model, volume, method), mri, generator=generator)
    return {
        "method": method.name,
        "random_pairs": float(random_pairs(heat).mean()),
        "repeatability": float(repeated.nanmean()),
        "other_seed": float(map_agreement(heat, maps(other, mri, method)).nanmean()),
        **{f"without_{name}": float(value.nanmean()) for name, value in cascade.items()},
    }


def read_cells(folder: Path) -> pd.DataFrame:
    """All cells, with what the image itself gives beside every row."""
    paths = sorted((folder / "cells").glob("*.csv"))
    everything = pd.concat([pd.read_csv(path, dtype={"region": object}) for path in paths])
    everything["region"] = everything["region"].fillna("")
    keys = ["backbone", "target", "seed", "region", "knee"]
    image = everything[everything["method"] == "input_itself"].set_index(keys)
    return everything.join(image[["enrichment", "seconds"]].add_suffix("_image"), on=keys)


def verdict(table: pd.DataFrame) -> dict[str, Any]:
    """Whether a method finds a region: the interval of enrichment minus the highest floor is above zero."""
    method, region = table["method"].iloc[0], table["region"].iloc[0] or table["target"].iloc[0]
    region = UNRELATED.get(region, region)
    floors = {"chance": 1.0, "image": table["enrichment_image"], "random": table["enrichment_random"],
              "others": table["enrichment_others"]}  # fmt: skip
    if region in SHORTCUTS:
        del floors["others"]  # a shortcut lies at the same place in every knee
    means = {name: float(np.mean(values)) for name, values in floors.items()}
    if method == "input_itself":
        means = {name: mean for name, mean in means.items() if name in ("chance", "others")}
    highest = max((name for name in means if np.isfinite(means[name])), key=lambda name: means[name])
    subjects = [f"{seed}-{knee}" for seed, knee in zip(table["seed"], table["knee"], strict=True)]
    value = summarise_values(table["enrichment"].to_numpy()[None], subjects, scale="log")
    lead = summarise_values((table["enrichment"] - floors[highest]).to_numpy()[None], subjects)
    return {
        "enrichment": value.value, "low": value.ci_low, "high": value.ci_high,
        "floor": means[highest], "which": highest, "found": bool(lead.ci_low > 0),
    }  # fmt: skip


def answer(cells: pd.DataFrame) -> pd.DataFrame:
    """A row for each backbone, target and method: means over held-out knees of all seeds, and the verdict."""
    found = []
    present = cells[cells["region"] == ""]
    for key, table in present.groupby(["backbone", "target", "method"], sort=False):
        found.append({
            **dict(zip(("backbone", "target", "method"), key, strict=True)),
            "auc": table["auc"].mean(), "seeds": table["seed"].nunique(), "knees": len(table),
            **verdict(table),
            **{name: table[name].mean() for name in ("auroc", "auprc", "pointing", "peak_mm", "gain")},
            "cost": table["seconds"].mean() / table["seconds_image"].mean(),
        })  # fmt: skip
    return pd.DataFrame(found)


def shortcut_runs(cells: pd.DataFrame) -> pd.DataFrame:
    """Each run, shortcut and method: was it named, was it there, and what share of the score hung on it?

    ``default`` is named by either default, ``default, occlusion`` by one of them or by occlusion.
    """
    region = cells["region"].where(cells["region"] != "", cells["target"]).replace(UNRELATED)
    unrelated = cells["target"].isin(UNRELATED)
    kind = np.where(unrelated, "unrelated", np.where(cells["region"] == "", "planted", "absent"))
    shown = cells.assign(shortcut=region, kind=kind)[region.isin(SHORTCUTS)]
    found = [
        {**dict(zip(("backbone", "shortcut", "seed", "method"), key, strict=True)),
         "kind": kind, "auc": table["auc"].iloc[0], "used": table["used"].iloc[0],
         "named": verdict(table)["found"], "peak_inside": table["pointing"].mean()}
        for key, table in shown.groupby(["backbone", "shortcut", "seed", "method"], sort=False)
        for kind, table in table.groupby("kind", sort=False)
    ]  # fmt: skip
    runs = pd.DataFrame(found)
    if not len(runs):
        return runs
    together = {"default": DEFAULT, "default, occlusion": (*DEFAULT, Occlusion().name)}
    either = [
        runs[runs["method"].isin(names)].groupby(
            ["backbone", "shortcut", "seed", "kind"], as_index=False, sort=False
        ).agg(
            auc=("auc", "first"), used=("used", "first"), named=("named", "max"),
            peak_inside=("peak_inside", "max"),
        ).assign(method=name)
        for name, names in together.items()
    ]  # fmt: skip
    return pd.concat([runs, *either], ignore_index=True)


def shortcut_markdown(runs: pd.DataFrame) -> str:
    """Share of the runs in which a shortcut was named: planted, planted and used, absent, unrelated."""
    heads = ("backbone", "shortcut", "method", "planted", "planted and used", "absent", "unrelated")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    everywhere = pd.concat([runs, runs.assign(backbone="all"), runs.assign(backbone="all", shortcut="any")])
    for (backbone, shortcut, method), part in everywhere.groupby(
        ["backbone", "shortcut", "method"], sort=False
    ):
        planted, absent, unrelated = (part[part["kind"] == one] for one in ("planted", "absent", "unrelated"))
        used = planted[planted["used"] >= USED]
        cells = [_share(some["named"]) for some in (planted, used, absent, unrelated)]
        lines.append(f"| {backbone} | {shortcut} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _share(named: pd.Series) -> str:
    """Runs with Wilson's interval."""
    if not len(named):
        return "not run"
    interval = binomtest(int(named.sum()), len(named)).proportion_ci(method="wilson")
    return f"{int(named.sum())} of {len(named)} [{interval.low:.2f}, {interval.high:.2f}]"


def as_markdown(table: pd.DataFrame) -> str:
    """Two tables a backbone: enrichment with its interval and highest floor, then where the peak lies."""
    table = table.assign(
        enrichment_cell=[
            f"{'**' * row.found}{row.enrichment:.2f}{'**' * row.found} [{row.low:.2f}, {row.high:.2f}] / "
            f"{row.floor:.2f}"
            for row in table.itertuples()
        ],
        peak_cell=[
            f"{row.pointing:.2f}, {row.peak_mm:.0f} mm, AUROC {row.auroc:.2f}" for row in table.itertuples()
        ],
    )
    lines = []
    for backbone, part in table.groupby("backbone", sort=False):
        aucs = part.groupby("target", sort=False)["auc"].first()
        seeds = part.groupby("target", sort=False)["seeds"].first()
        heads = [f"{target} (AUC {auc:.2f}, {seeds[target]} seeds)" for target, auc in aucs.items()]
        for column in ("enrichment_cell", "peak_cell"):
            cells = part.pivot(index="method", columns="target", values=column)[aucs.index]
            cost = part.groupby("method", sort=False)["cost"].mean()
            lines += ["", f"| {backbone} | {' | '.join(heads)} | cost |", "|---" * (len(heads) + 2) + "|"]
            lines += [
                f"| {name} | {' | '.join(map(str, cells.loc[name]))} | {value:.0f}x |"
                for name, value in cost.items()
            ]
    return "\n".join(lines).lstrip() + "\n"


def cells(arguments: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Backbone, target and seed of everything that is trained."""
    for seed in range(arguments.seeds):
        for target in arguments.targets:
            for backbone in arguments.backbones:
                yield backbone, target, seed


def run(arguments: argparse.Namespace) -> None:
    """Train and explain every cell that has no file yet."""
    shape, folder = tuple(arguments.shape), arguments.folder
    for backbone, target, seed in cells(arguments):
        path = folder / "cells" / f"{backbone}-{target}-{seed}.csv"
        if path.is_file():
            continue
        start = time.time()
        model = model_of(folder, backbone, target, seed, arguments)
        held_out = phantoms(target, arguments.knees, 2 * arguments.test, shape, seed)
        with torch.no_grad():
            severity = torch.cat([explained(model, some).of_volume(some) for some in held_out.mri.split(8)])
        score = auc(severity.numpy(), (held_out.grade >= 2).numpy())
        ill = held_out.grade >= 2
        used = use_of(model, target, severity, seed, arguments)
        knees = Knees(*(part[ill] for part in vars(held_out).values()))
        absent = {
            name: phantoms(name, arguments.knees, 2 * arguments.test, shape, seed).region[ill]
            for name in (ABSENT if target == "all" else ())
        }
        chosen = methods(backbone, few=arguments.few)
        tables = [measured(model, knees, method, arguments.perturbed, absent) for method in chosen]
        table = (
            pd.concat(tables)
            .rename_axis("knee")
            .assign(backbone=backbone, target=target, seed=seed, auc=score, used=used)
        )
        write_atomically(path, table.to_csv(float_format="%.6g"))
        print(f"{path.stem}: AUC {score:.3f}, used {used:.2f}, {time.time() - start:.0f} s", flush=True)


def use_of(
    model: oh.HierarchicalClassifier, target: str, severity: Tensor, seed: int, arguments: argparse.Namespace
) -> float:
    """Share of the difference of scores between the grades that goes when a shortcut is taken out."""
    if UNRELATED.get(target, target) not in SHORTCUTS:
        return float("nan")
    plain = phantoms("all", arguments.knees, 2 * arguments.test, tuple(arguments.shape), seed)
    ill = plain.grade >= 2
    with torch.no_grad():
        without = torch.cat([explained(model, some).of_volume(some) for some in plain.mri[ill].split(8)])
    return float((severity[ill] - without).mean() / (severity[ill].mean() - severity[~ill].mean()))


def probe(arguments: argparse.Namespace) -> pd.DataFrame:
    """How far the scores of held-out knees move when their acquisition is changed, without any map.

    Writes ``probe.csv``, a row a cell, change and half of the knees, and ``probe.md``.
    """
    folder = arguments.folder / "probe"
    for backbone, target, seed in cells(arguments):
        path = folder / f"{backbone}-{target}-{seed}.csv"
        if path.is_file():
            continue
        model = model_of(arguments.folder, backbone, target, seed, arguments)
        knees = phantoms(target, arguments.knees, 2 * arguments.test, tuple(arguments.shape), seed)

        def score(volumes: Tensor, model: oh.HierarchicalClassifier = model) -> Tensor:
            return torch.cat([explained(model, some).of_volume(some) for some in volumes.split(8)])

        with torch.no_grad():
            severity = score(knees.mri)
        names = [str(number) for number in range(len(severity))]
        found = movements(severity, score_shifts(score, knees.mri, acquisition_changes()), names)
        table = pd.DataFrame([{**vars(one), "depends": one.counts} for one in found])
        used = use_of(model, target, severity, seed, arguments)
        table = table.assign(backbone=backbone, target=target, seed=seed, used=used)
        write_atomically(path, table.to_csv(index=False, float_format="%.6g"))
    table = pd.concat([pd.read_csv(path) for path in sorted(folder.glob("*.csv"))], ignore_index=True)
    write_atomically(arguments.folder / "probe.csv", table.to_csv(index=False, float_format="%.4g"))
    write_atomically(arguments.folder / "probe.md", probe_markdown(table))
    return table


def probe_markdown(table: pd.DataFrame) -> str:
    """In how many runs the score depends on each kind of change, by what was planted."""
    kinds = [[CornerBlock((True, False, False)).name], [SmallerField().name],
             [GainRamp(2, 0.5).name, GainRamp(2, -0.5).name]]  # fmt: skip
    lines = ["| trained with | depends on the mark | on the field | on the gain |", "|---" * 4 + "|"]
    for target, part in table.groupby("target", sort=False):
        runs = part.groupby(["backbone", "seed"])
        cells = [
            _share(
                runs.apply(lambda run, kind=kind: bool(run.loc[run["change"].isin(kind), "depends"].any()))
            )
            for kind in kinds
        ]
        lines.append(f"| {target} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def model_of(
    folder: Path, backbone: str, target: str, seed: int, arguments: argparse.Namespace
) -> oh.HierarchicalClassifier:
    """The trained model of a cell, kept in a file."""
    path = folder / "models" / f"{backbone}-{target}-{seed}.pt"
    if not path.is_file():
        knees = phantoms(target, 0, arguments.knees, tuple(arguments.shape), seed)
        model = trained(backbone, knees, arguments.epochs, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path)
    heads: dict[str, oh.Head] = {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()}
    model = oh.HierarchicalClassifier(BACKBONES[backbone](), heads).eval()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


def options(words: list[str] | None = None) -> argparse.Namespace:
    """The command line; defaults are those of the published table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/saliency-truth"))
    parser.add_argument("--knees", type=int, default=96, help="of the training")
    parser.add_argument("--test", type=int, default=12, help="about how many held-out knees with OA")
    parser.add_argument("--shape", type=int, nargs=3, default=(32, 48, 48))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--few", action="store_true", help="explain by the default methods and a few others")
    parser.add_argument("--probe", action="store_true", help="change the acquisition instead of explaining")
    parser.add_argument("--no-stability", action="store_true", help="leave stability.csv out")
    parser.add_argument("--perturbed", type=int, default=6, help="knees of the deletion and insertion curves")
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES), choices=list(BACKBONES))
    parser.add_argument("--targets", nargs="+", default=["all", *CAUSES, *SHORTCUTS])
    return parser.parse_args(words)


def main(arguments: argparse.Namespace) -> pd.DataFrame:
    """Every cell, the answer, and how stable the methods are between two seeds."""
    if arguments.probe:
        return probe(arguments)
    run(arguments)
    cells = read_cells(arguments.folder)
    table, runs = answer(cells), shortcut_runs(cells)
    write_atomically(arguments.folder / "answer.csv", table.to_csv(index=False, float_format="%.4g"))
    write_atomically(arguments.folder / "answer.md", as_markdown(table))
    if len(runs):
        write_atomically(arguments.folder / "shortcuts.csv", runs.to_csv(index=False, float_format="%.4g"))
        write_atomically(arguments.folder / "shortcuts.md", shortcut_markdown(runs))
    if arguments.seeds > 1 and "all" in arguments.targets and not arguments.no_stability:
        backbone, shape = arguments.backbones[0], tuple(arguments.shape)
        models = [model_of(arguments.folder, backbone, "all", seed, arguments) for seed in range(2)]
        knees = phantoms("all", arguments.knees, 2 * arguments.perturbed, shape, 0)
        rows = [stability(*models, knees.mri, method) for method in methods(backbone, few=arguments.few)]
        write_atomically(arguments.folder / "stability.csv", pd.DataFrame(rows).to_csv(index=False))
    return table


if __name__ == "__main__":
    main(options())
