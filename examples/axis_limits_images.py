"""Severity by measurements of phantoms, without a network.

Severity is regressed on measurements of each knee (ridge regression on them and their products). Those of
label maps: cartilage of every compartment, joint space, areas of the bones. Those of intensities, in places
that the label map gives: signal between and around the bones, in the marrow and in the recesses. Those of
signal maps know the knee without disease, and the exact ones are the generator's own: only the anatomy, which
differs between knees, stands between them and the severity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt

from oahier.images.grid import Grid
from oahier.images.thickness import cartilage_sizes
from oahier.phantom import PhantomKnee, phantom_knee
from oahier.phantom.cohort import KneePlan
from oahier.phantom.disease import Disease

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]
FEMUR, TIBIA = 1, 3


def scanned(plan: KneePlan, shape: Shape, spacing: Spacing) -> PhantomKnee:
    """A knee of the plan on a grid."""
    return phantom_knee(
        plan.severity, shape=shape, spacing=spacing, side=plan.side, anatomy=plan.anatomy, scan=plan.scan
    )


def exact(plan: KneePlan) -> dict[str, float]:
    """What the generator draws of this knee, in mm: what a noiseless, infinitely fine image would show."""
    body, sick = plan.anatomy, Disease.from_severity(plan.severity, plan.anatomy.lateral_share)
    cartilage = {"femoral": body.femoral_cartilage, "tibial": body.tibial_cartilage}
    left = {"medial": 1 - sick.medial_loss, "lateral": 1 - sick.lateral_loss}
    narrowed = {"medial": 1 - sick.medial_narrowing, "lateral": 1 - sick.lateral_narrowing}
    found = {
        f"{place} {side}": mm * body.scale * left[side] for place, mm in cartilage.items() for side in left
    }
    found |= {
        f"gap {side}": (sum(cartilage.values()) * share + body.fluid) * body.scale
        for side, share in narrowed.items()
    }
    return found | {
        "scale": body.scale,
        "focal": (1 - sick.medial_loss - 0.6 * sick.focal_loss) * cartilage["femoral"] * body.scale,
        "osteophyte": sick.osteophyte * body.scale,
        "lesion": sick.marrow_lesion,
        "fluid": sick.effusion + plan.scan.resting_fluid,
        "extrusion": sick.extrusion,
        "plate": sick.sclerosis,
    }


@dataclass(frozen=True)
class Places:
    """Where things are in a knee with its medial side first, by its label map. Distances in mm."""

    labels: np.ndarray
    image: np.ndarray
    spacing: Spacing
    across: np.ndarray
    """From the middle of the tibia, medial negative, along the first axis."""
    ahead: np.ndarray
    up: np.ndarray
    """From the joint line."""

    @classmethod
    def of(cls, knee: PhantomKnee) -> Places:
        """Of a phantom; the joint line is where the tibia ends and the femur begins."""
        turn = slice(None, None, -1 if knee.side == "left" else 1)
        labels, image = knee.label_map[turn], knee.mri[turn]
        spacing = (float(knee.affine[0, 0]), float(knee.affine[1, 1]), float(knee.affine[2, 2]))
        places = np.argwhere(labels == TIBIA)
        high = np.quantile(places[:, 2], 0.99)
        low = np.quantile(np.argwhere(labels == FEMUR)[:, 2], 0.01)
        head = places[places[:, 2] > high - 15 / spacing[2]]
        centre = (*head.mean(axis=0)[:2], (low + high) / 2)
        lines = [
            (np.arange(count) - at) * step
            for count, at, step in zip(labels.shape, centre, spacing, strict=True)
        ]
        across, ahead, up = np.meshgrid(*lines, indexing="ij", sparse=True)
        bright = image[np.isin(labels, (2, 4, 5))]
        return cls(labels, image / max(float(bright.mean()), 1e-6), spacing, across, ahead, up)


def of_labels(at: Places) -> dict[str, float]:
    """Cartilage by the library's functions, joint space and areas of the bones."""
    labels = at.labels
    grid = Grid(labels.shape, np.diag([*at.spacing, 1.0]))
    found: dict[str, float] = {}
    for name, size in cartilage_sizes(labels, grid).items():
        found |= {f"{name} mm": np.nan_to_num(size.thickness), f"{name} mm3": np.nan_to_num(size.volume)}
    femur, tibia = (np.where(labels == bone, at.up, np.nan) for bone in (FEMUR, TIBIA))
    both = (labels == FEMUR).any(axis=2) & (labels == TIBIA).any(axis=2)
    gap = np.full(both.shape, np.nan)
    gap[both] = np.nanmin(femur[both], axis=-1) - np.nanmax(tibia[both], axis=-1)
    for side, sign in (("medial", -1), ("lateral", 1)):
        near = (abs(sign * at.across - 21) < 10) & (abs(at.ahead + 3) < 14)
        inside = gap[near[:, :, 0] & both]
        found |= {f"gap {side}": float(np.mean(inside)) if len(inside) else 0.0}
    for bone, heights in ((FEMUR, (7.0, 20.0)), (TIBIA, (-7.0, -18.0))):
        for height in heights:
            thick = np.clip(1.5 - abs(at.up - height) / at.spacing[2], 0, 1)
            area = ((labels == bone) * thick).sum() / thick.sum() * at.spacing[0] * at.spacing[1]
            found[f"area {bone} at {height:g}"] = float(area)
    return found


def of_intensities(at: Places) -> dict[str, float]:
    """Signal relative to that of cartilage, summed (mm3) or averaged where label maps say where to look."""
    found: dict[str, float] = {}
    voxel = float(np.prod(at.spacing))
    bones = {bone: at.labels == bone for bone in (FEMUR, TIBIA)}
    away = {bone: distance_transform_edt(~mask, sampling=at.spacing) for bone, mask in bones.items()}
    depth = distance_transform_edt(bones[FEMUR] | bones[TIBIA], sampling=at.spacing)
    outside = ~(bones[FEMUR] | bones[TIBIA])
    for side, sign in (("medial", -1), ("lateral", 1)):
        here = sign * at.across > 0
        centre = (abs(sign * at.across - 21) < 12) & (abs(at.ahead + 3) < 16)
        for name, where in {
            "joint": centre & (abs(at.up) < 8),
            "sheet": here & outside & (away[FEMUR] < 5) & (at.up < 30),
            "plateau": here & outside & (away[TIBIA] < 5) & (abs(at.up) < 10),
            "rim": (sign * at.across > 28) & outside & (abs(at.up) < 12) & (abs(at.ahead) < 22),
        }.items():
            found[f"{name} {side}"] = float((at.image * where).sum() * voxel)
        deep = centre & ~outside & (depth > 2)
        for name, low, high in (("femur", 4, 14), ("tibia", -18, -4)):
            chosen = deep & (at.up > low) & (at.up < high)
            found[f"marrow {name} {side}"] = float(at.image[chosen].mean()) if chosen.any() else 0.0
    recess = outside & (away[FEMUR] < 9) & (at.up > 12) & (at.ahead > -12) & ~np.isin(at.labels, (2, 4, 5))
    found["recess"] = float((at.image * recess).sum() * voxel)
    found["fluid"] = float((np.clip(at.image - 0.9, 0, None) * recess).sum() * voxel)
    return found


def of_signal(knee: PhantomKnee) -> dict[str, float]:
    """Signal map, in units of the gain, added up inside the bones, near the joint and elsewhere."""
    signal = knee.signal_map() / knee.scan.gain
    bones = np.isin(knee.label_map, (FEMUR, TIBIA))
    near = ~bones & (distance_transform_edt(~(knee.label_map > TIBIA), sampling=np.diag(knee.affine)[:3]) < 8)
    regions = {"bones": bones, "joint": near, "elsewhere": ~bones & ~near}
    return {
        f"signal {name} {sign}": float(np.clip(signal * factor, 0, None)[where].sum())
        for name, where in regions.items()
        for sign, factor in (("+", 1), ("-", -1))
    }


def measured(plan: KneePlan, shape: Shape, spacing: Spacing, *, signal: bool) -> dict[str, float]:
    """All measurements of one scan, named by their kind."""
    knee = scanned(plan, shape, spacing)
    at = Places.of(knee)
    kinds = {"exact": exact(plan), "labels": of_labels(at), "intensities": of_intensities(at)}
    if signal:
        kinds["signal"] = of_signal(knee)
    return {f"{kind}: {name}": value for kind, found in kinds.items() for name, value in found.items()}


def regressed(table: pd.DataFrame, kinds: tuple[str, ...]) -> np.ndarray:
    """Severity of every scan, by a regression that was fitted on the training knees' true severity."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    values = table[[name for name in table if name.split(":")[0] in kinds]].to_numpy(float)
    training = (table["split"] == "train").to_numpy()
    ridge = RidgeCV(alphas=np.logspace(-3, 5, 25))
    fit = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler(), ridge)
    fit.fit(values[training], table["severity"].to_numpy()[training])
    return np.asarray(fit.predict(values))
