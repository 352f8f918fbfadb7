"""Writes the folder of a study as the runner and the tables leave it, with seeded random content.

No model is trained: whoever reads study folders can be tested on it within a second.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nibabel as nib
import numpy as np
import pandas as pd
import yaml

OA_METRICS = ("auc", "average_precision", "accuracy", "f1", "sensitivity", "specificity", "brier")
KL_METRICS = ("macro_auc", "accuracy", "macro_f1", "qwk", "mae", "spearman", "rps")
METRICS = {"OA": OA_METRICS, "KL": KL_METRICS, "jsn": KL_METRICS}
SALIENCY_MEASURES = ("iou", "mass_in_cartilage", "enrichment", "pointing", "precision_top_5")
AXIS_KINDS = ("pca", "lda", "regression", "centroid")
TEACHING = {"single-oa": ("oa",), "single-kl": ("kl",), "dual": ("oa", "kl")}
ERRORS = ("brier", "mae", "rps")


@dataclass(frozen=True)
class Synthetic:
    """What to write."""

    backbones: Sequence[str] = ("resnet3d", "m3t")
    supervisions: Sequence[str] = ("single-oa", "single-kl", "dual")
    seeds: Sequence[str] = ("0", "1")
    name: str = "synthetic"
    knees: int = 24
    shown: int = 2
    shape: tuple[int, int, int] = (20, 30, 24)
    failed: Sequence[str] = ("m3t_dual_1",)
    waiting: Sequence[str] = ()
    error: str = "RuntimeError: loss is nan in epoch 3; lower the learning rate"
    odd_knee: str | None = None
    """An id for the first test knee."""
    cartilage: bool = True
    saliency: Sequence[str] = ("gradcam", "smoothgrad")
    heads: Sequence[str] = ("oa", "kl")
    tables: Sequence[str] = (
        "cells", "headline", "comparisons", "axis", "axis_comparisons", "saliency", "saliency_comparisons",
    )  # fmt: skip
    seed: int = 0
    knee_names: list[str] = field(default_factory=list)


def write_study(folder: Path, plan: Synthetic | None = None) -> Path:
    """Write the study; returns its folder."""
    plan = plan or Synthetic()
    generator = np.random.default_rng(plan.seed)
    factors = {
        "backbone": list(plan.backbones),
        "supervision": list(plan.supervisions),
        "seed": list(plan.seeds),
    }
    write_json(
        folder / "study.json",
        {
            "name": plan.name, "factors": factors, "contrast": "supervision", "replicate": "seed",
            "preset": None,
        },
    )  # fmt: skip
    grid = {"supervision": list(plan.supervisions), "seed": [int(seed) for seed in plan.seeds]}
    (folder / "study.yaml").write_text(yaml.safe_dump({"name": plan.name, "base": {}, "grid": grid}))
    knees = knee_table(plan, generator)
    cells = [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]
    for cell in cells:
        write_cell(folder, plan, cell, knees, generator)
    write_volumes(folder / "knees", plan, knees)
    write_tables(folder / "tables", plan, cells, knees, generator)
    return folder


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def knee_table(plan: Synthetic, generator: np.random.Generator) -> pd.DataFrame:
    grades = np.arange(plan.knees) % 5
    names = [f"K{number:03d}" for number in range(plan.knees)]
    if plan.odd_knee is not None:
        names[0] = plan.odd_knee
    table = pd.DataFrame({"knee": names, "kl": grades, "oa": (grades >= 2).astype(int)})
    table["jsn"] = np.minimum(grades, 3)
    table["subject"] = [f"S{number // 2:03d}" for number in range(plan.knees)]
    return table.sort_values("knee").reset_index(drop=True)


def state(plan: Synthetic, cell: dict[str, str]) -> str:
    name = "_".join(cell.values())
    return "failed" if name in plan.failed else "waiting" if name in plan.waiting else "finished"


def write_cell(
    folder: Path, plan: Synthetic, cell: dict[str, str], knees: pd.DataFrame, generator: np.random.Generator
) -> None:
    name = "_".join(cell.values())
    place = folder / "cells" / name
    probes = [head for head in plan.heads if head not in TEACHING.get(cell["supervision"], plan.heads)]
    settings = {
        "study": plan.name, "monitor": "val/kl/qwk", "mode": "max", "saliency": list(plan.saliency),
        "knees": plan.shown,
    }  # fmt: skip
    write_json(place / "cell.json", {"name": name, "factors": cell, "settings": settings, "probes": probes})
    (place / "config.yaml").write_text(yaml.safe_dump(configuration(plan, cell, probes), sort_keys=False))
    if state(plan, cell) == "failed":
        (place / "failure.txt").write_text(f"Traceback (most recent call last):\n  ...\n{plan.error}\n")
    if state(plan, cell) != "finished":
        return
    quality = 0.5 + 0.3 * (cell["supervision"] == "dual")
    write_predictions(place, plan, knees, quality, generator)
    training = pd.DataFrame(
        {
            "knee": [f"T{number:03d}" for number in range(40)],
            "subject": [f"R{number:03d}" for number in range(40)],
            "kl": np.arange(40) % 5,
        }
    )
    training["oa"] = (training["kl"] >= 2).astype(int)
    training["jsn"] = training["kl"].clip(upper=3)
    write_predictions(place / "train", plan, training, quality, generator)
    if plan.saliency:
        write_maps(place, plan, cell, knees, probes, generator)
    metrics = {
        "stage": "test", "knees": len(knees), "metrics": {}, "intervals": {}, "epoch": 7, "step": 140,
        "parameters": {"resnet3d": 33161792, "m3t": 12030000}.get(cell["backbone"], 1000),
        "spacing": [2.0, 1.5, 1.5], "split_knees": {"train": 40, "val": 1, "test": plan.knees},
        "seconds": 12.5,
    }  # fmt: skip
    write_json(place / "metrics.json", metrics)


def configuration(plan: Synthetic, cell: dict[str, str], probes: Sequence[str]) -> dict[str, Any]:
    kinds = {
        "oa": {"class_path": "oahier.BinaryHead", "init_args": {"probe": "oa" in probes}},
        "kl": {"class_path": "oahier.SoftmaxHead", "init_args": {"num_classes": 5, "probe": "kl" in probes}},
        "jsn": {
            "class_path": "oahier.SoftmaxHead",
            "init_args": {"num_classes": 4, "probe": "jsn" in probes},
        },
    }
    return {
        "seed_everything": int(cell["seed"]) if cell["seed"].isdigit() else 0,
        "trainer": {"max_epochs": 10, "precision": None},
        "model": {
            "encoder": {"class_path": "oahier.ResNet3D", "init_args": {"depth": 18}}
            if cell["backbone"] == "resnet3d"
            else cell["backbone"],
            "heads": {head: kinds[head] for head in plan.heads},
            "loss_weights": None,
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-4, "weight_decay": 1e-4}},
            "lr_scheduler": None,
        },
        "data": {
            "manifest": "knees.csv", "shape": list(plan.shape), "spacing": None, "batch_size": 4,
            "augmentation": "mild", "balanced": False,
        },
    }  # fmt: skip


def write_predictions(
    place: Path, plan: Synthetic, knees: pd.DataFrame, quality: float, generator: np.random.Generator
) -> None:
    place.mkdir(parents=True, exist_ok=True)
    grades = knees["kl"].to_numpy()
    latent = grades + generator.normal(0, 1.2 / quality, len(knees))
    table = knees[["knee", "subject"]].copy()
    for head in reversed(plan.heads):
        table[f"label_{head}"] = knees[head]
    logits = -((latent[:, None] - np.arange(5)) ** 2) * quality
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if "oa" in plan.heads:
        table["prob_oa"] = 1 / (1 + np.exp(-(latent - 1.6)))
    if "kl" in plan.heads:
        for grade in range(5):
            table[f"prob_kl_{grade}"] = probabilities[:, grade]
    if "jsn" in plan.heads:
        for grade in range(4):
            table[f"prob_jsn_{grade}"] = (
                probabilities[:, grade] if grade < 3 else probabilities[:, 3:].sum(axis=1)
            )
    table.to_csv(place / "predictions.csv", index=False)
    embedding = np.outer(latent, np.cos(np.arange(8))) + generator.normal(0, 1.0, (len(knees), 8))
    np.savez(
        place / "embeddings.npz",
        knee=np.array(knees["knee"].tolist(), dtype=np.str_),
        embedding=embedding.astype(np.float32),
    )


def affine(spacing: Sequence[float], shape: Sequence[int]) -> np.ndarray:
    made = np.diag([*spacing, 1.0])
    made[:3, 3] = -0.5 * np.array(spacing) * (np.array(shape) - 1)
    return made


SPACING = (2.0, 1.5, 1.5)


def joint(shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """A picture of a knee, RAS+, and its cartilage: femur above, tibia below, patella in front."""
    i, j, k = (np.linspace(-1, 1, size) for size in shape)
    x, y, z = np.meshgrid(i, j, k, indexing="ij")
    leg = (x / 0.9) ** 2 + (y / 0.85) ** 2 < 1
    femur = (x / 0.7) ** 2 + (y / 0.55) ** 2 + ((z - 0.42) / 0.4) ** 2 < 1
    femur |= ((x / 0.35) ** 2 + ((y - 0.05) / 0.3) ** 2 < 1) & (z > 0.3)
    tibia = ((x / 0.7) ** 2 + ((y + 0.05) / 0.5) ** 2 < 1) & (z < -0.12) & (z > -0.45)
    tibia |= ((x / 0.4) ** 2 + (y / 0.3) ** 2 < 1) & (z < -0.3)
    patella = (x / 0.3) ** 2 + ((y - 0.7) / 0.1) ** 2 + ((z - 0.35) / 0.25) ** 2 < 1
    grown = (x / 0.78) ** 2 + (y / 0.64) ** 2 + ((z - 0.42) / 0.5) ** 2 < 1
    cartilage = grown & ~femur & (z < 0.3)
    cartilage |= ((x / 0.68) ** 2 + ((y + 0.05) / 0.46) ** 2 < 1) & (z <= -0.03) & (z >= -0.12)
    image = np.where(leg, 0.35, 0.0) + 0.35 * (femur | tibia | patella) + 0.45 * (cartilage & ~femur & ~tibia)
    return image.astype(np.float32), cartilage & ~femur & ~tibia


def write_volumes(folder: Path, plan: Synthetic, knees: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(plan.seed + 1)
    image, cartilage = joint(plan.shape)
    for knee in knees["knee"][: plan.shown]:
        mri = image + generator.normal(0, 0.04, plan.shape)
        np.savez(
            folder / f"{quote(knee, safe='')}.npz",
            mri=((mri - mri.mean()) / mri.std()).astype(np.float16),
            cartilage=cartilage if plan.cartilage else np.zeros(plan.shape, dtype=bool),
            affine=affine(SPACING, plan.shape),
            spacing=np.array(SPACING),
        )


def write_maps(
    place: Path,
    plan: Synthetic,
    cell: dict[str, str],
    knees: pd.DataFrame,
    probes: Sequence[str],
    generator: np.random.Generator,
) -> None:
    """Maps of the shown knees; those of M3T lie on a grid of their own."""
    shape = plan.shape if cell["backbone"] != "m3t" else (16, 16, 16)
    extent = np.array(SPACING) * plan.shape
    geometry = affine(extent / np.array(shape), shape)
    world = [np.linspace(-1, 1, size) for size in shape]
    x, y, z = np.meshgrid(*world, indexing="ij")
    for method, head in product(plan.saliency, plan.heads):
        if head in probes:
            continue
        name = f"{method}-{head}"
        (place / "saliency" / name).mkdir(parents=True, exist_ok=True)
        scores = pd.DataFrame({"knee": knees["knee"], "subject": knees["subject"]})
        for measure in SALIENCY_MEASURES:
            scores[measure] = generator.uniform(0, 1, len(knees))
        scores.to_csv(place / "saliency" / f"{name}.csv", index=False)
        for knee in knees["knee"][: plan.shown]:
            centre = generator.uniform(-0.4, 0.4, 3)
            distance = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
            values = np.exp(-distance / 0.08).astype(np.float32)
            path = place / "saliency" / name / f"{quote(knee, safe='')}.nii.gz"
            nib.save(nib.Nifti1Image(values, geometry), path)


def write_tables(
    folder: Path,
    plan: Synthetic,
    cells: Sequence[dict[str, str]],
    knees: pd.DataFrame,
    generator: np.random.Generator,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tasks = {task: names for task, names in METRICS.items() if task.lower() in plan.heads}
    long = cell_rows(plan, cells, tasks, generator)
    headline = headline_rows(plan, long, knees, generator)
    made = {
        "cells": long,
        "headline": headline,
        "comparisons": comparison_rows(plan, headline, ("task", "metric"), generator),
        "axis": axis_rows(plan, cells, knees, generator),
        "saliency": saliency_rows(plan, knees, generator),
    }
    axis = made["axis"]
    if len(axis):
        keys = axis.melt(
            ["cell", "backbone", "supervision", "seed", "kind"], ["spearman_kl", "probe_auc"], "metric"
        )
        mean = keys.groupby(["backbone", "supervision", "kind", "metric"], sort=False, as_index=False)
        made["axis_comparisons"] = comparison_rows(plan, mean["value"].mean(), ("kind", "metric"), generator)
    if len(made["saliency"]):
        made["saliency_comparisons"] = comparison_rows(
            plan, made["saliency"], ("method", "measure"), generator
        )
    write_json(folder / "statistics.json", {"correction": "bh", "margins": {"qwk": 0.05}})
    for name in plan.tables:
        if name in made and len(made[name]):
            made[name].to_csv(folder / f"{name}.csv", index=False)


def cell_rows(
    plan: Synthetic, cells: Any, tasks: dict[str, Any], generator: np.random.Generator
) -> pd.DataFrame:
    rows = []
    for cell in cells:
        shared = {"cell": "_".join(cell.values()), **cell, "state": state(plan, cell)}
        if shared["state"] != "finished":
            rows.append(shared | {"task": None, "metric": None, "value": None})
            continue
        for task, names in tasks.items():
            for metric in names:
                centre = 0.25 if metric in ERRORS else 0.6 + 0.15 * (cell["supervision"] == "dual")
                value = centre + generator.uniform(-0.12, 0.12)
                rows.append(shared | {"task": task, "metric": metric, "value": round(float(value), 6)})
    return pd.DataFrame(rows)


def headline_rows(
    plan: Synthetic, cells: pd.DataFrame, knees: pd.DataFrame, generator: np.random.Generator
) -> pd.DataFrame:
    rows = []
    keys = ["backbone", "supervision", "task", "metric"]
    for key, values in cells.dropna(subset=["metric"]).groupby(keys, sort=False)["value"]:
        backbone, supervision, task, metric = key
        mean, half = float(values.mean()), float(generator.uniform(0.04, 0.1))
        rows.append(
            {
                "backbone": backbone, "supervision": supervision, "task": task, "metric": metric,
                "value": mean, "ci_low": mean - half, "ci_high": mean + half,
                "seed_sd": float(values.std(ddof=1)) if len(values) > 1 else None, "seeds": len(values),
                "knees": len(knees), "subjects": knees["subject"].nunique(),
                "scope": "recipe" if len(values) > 1 else "one run", "undefined": 0,
                "probe": task.lower() not in TEACHING.get(supervision, plan.heads),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def comparison_rows(
    plan: Synthetic, values: pd.DataFrame, keys: tuple[str, str], generator: np.random.Generator
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    if not len(values):
        return pd.DataFrame(rows)
    for (backbone, first, second), part in values.groupby(["backbone", *keys], sort=False):
        by_level = part.set_index("supervision")["value"]
        for a, b in combinations(plan.supervisions, 2):
            if a not in by_level.index or b not in by_level.index:
                continue
            difference, half = float(by_level[b] - by_level[a]), float(generator.uniform(0.05, 0.15))
            p_value = float(min(1.0, generator.uniform(0, 0.6) * half / max(abs(difference), 1e-3)))
            rows.append(
                {
                    "backbone": backbone, "model_a": a, "model_b": b, keys[0]: first, keys[1]: second,
                    "a": by_level[a], "b": by_level[b], "difference": difference,
                    "ci_low": difference - half, "ci_high": difference + half, "p_value": p_value,
                    "p_adjusted": min(1.0, 1.7 * p_value), "correction": "bh",
                    "test": "mcnemar_exact" if second == "accuracy" else "jackknife",
                    "effect_size": 1.4 if second == "accuracy" else difference / half,
                    "effect": "discordant_odds_ratio" if second == "accuracy" else "standardised_difference",
                    "seeds": len(plan.seeds), "n": plan.knees,
                    "scope": "recipe" if len(plan.seeds) > 1 else "one run", "undefined": 0,
                    "subjects": plan.knees, "p_not_better": p_value / 2, "verdict": "undecided",
                    "margin": 0.05 if second == "qwk" else None, "detectable": 1.43 * half,
                    "standard_error": half / 1.96, "df": 20.0, "models_ci_low": difference - 0.8 * half,
                    "models_ci_high": difference + 0.8 * half, "models_p_value": p_value / 2, "note": None,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def axis_rows(
    plan: Synthetic, cells: Any, knees: pd.DataFrame, generator: np.random.Generator
) -> pd.DataFrame:
    rows = []
    for cell, kind in product(cells, AXIS_KINDS):
        if state(plan, cell) != "finished":
            continue
        uniform = generator.uniform
        rows.append(
            {
                "cell": "_".join(cell.values()), **cell, "kind": kind,
                "explained_variance": uniform(0.3, 0.9), "explained_variance_held_out": uniform(0.3, 0.9),
                "spearman_kl": uniform(0.5, 0.9), "spearman_oa": uniform(0.4, 0.8),
                "probe_auc": uniform(0.7, 0.95), "trend_z": uniform(2, 8), "trend_p": 10 ** uniform(-12, -2),
                "monotonicity": generator.choice([0.75, 1.0]), "separation": uniform(0.3, 1.2),
                **{f"separation_{grade}_{grade + 1}": uniform(0.2, 1.4) for grade in range(4)},
                "straightness": uniform(0.5, 1), "oa_kl_cosine": uniform(0.8, 1), "knees": len(knees),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def saliency_rows(plan: Synthetic, knees: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    rows = []
    if not plan.cartilage:
        return pd.DataFrame()
    for backbone, supervision, method, head in product(
        plan.backbones, plan.supervisions, plan.saliency, plan.heads
    ):
        if head not in TEACHING.get(supervision, plan.heads):
            continue
        for measure in SALIENCY_MEASURES:
            scale = 3.0 if measure == "enrichment" else 0.3
            value, half = scale * generator.uniform(0.5, 1.2), scale * generator.uniform(0.05, 0.15)
            rows.append(
                {
                    "backbone": backbone, "supervision": supervision, "method": f"{method}-{head}",
                    "measure": measure, "value": value, "ci_low": value - half, "ci_high": value + half,
                    "chance": {"enrichment": 1.0, "iou": None}.get(measure, 0.06),
                    "other_cartilage": value * generator.uniform(0.7, 1.0)
                    if measure in ("enrichment", "mass_in_cartilage")
                    else None,
                    "randomised": value * generator.uniform(0.5, 1.1)
                    if measure in ("iou", "enrichment", "mass_in_cartilage")
                    else None,
                    "image": value * 0.8 if measure == "enrichment" else None,
                    "bound": 0.35 if measure == "iou" else None, "seeds": len(plan.seeds),
                    "knees": len(knees),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
