"""A model that is known to look at the brightest place of a volume, as a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import nn

import oahier as oh
from oahier.latent.training_knees import EmbeddingReference


def write_bright_checkpoint(
    path: Path,
    *,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    mirror_left: bool = False,
    stride: int = 1,
    reference: EmbeddingReference | None = None,
    splits: dict[str, list[str]] | None = None,
) -> Path:
    """Severity rises with the mean intensity, so class activation is the (pooled) volume itself."""
    module = oh.make(nn.Conv3d, in_channels=1, out_channels=1, kernel_size=stride, stride=stride)
    model = oh.HierarchicalClassifier(
        oh.PlainEncoder(module, num_features=1), {"oa": oh.BinaryHead(), "kl": oh.SoftmaxHead()}
    )
    with torch.no_grad():
        module.weight.fill_(1 / stride**3)
        module.bias.zero_()
        model.heads["kl"].projection.weight.copy_(torch.arange(5.0)[:, None])
        model.heads["kl"].projection.bias.zero_()
        model.heads["oa"].projection.weight.fill_(1.0)
        model.heads["oa"].projection.bias.zero_()
    preprocessing = {
        "shape": list(shape), "spacing": list(spacing), "mirror_left": mirror_left, "bias_correction": False
    }  # fmt: skip
    content: dict[str, Any] = {
        "state_dict": model.state_dict(),
        "hyper_parameters": model.specification,
        "KneeMRIDataModule": {"preprocessing": preprocessing, "splits": splits or {}},
        "callbacks": {} if reference is None else {"SeverityAxis": {"reference": reference.state()}},
    }  # fmt: skip
    torch.save(content, path)
    return path


def blob(shape: tuple[int, ...], affine: np.ndarray, voxel: tuple[int, ...], *, width: float) -> np.ndarray:
    """A bright ball of ``width`` millimetres about a voxel, on a dim ramp; int16."""
    axes = np.meshgrid(*(np.arange(count) for count in shape), indexing="ij")
    places = np.stack([*axes, np.ones(shape)]).reshape(4, -1)
    millimetres = (affine @ places)[:3].T
    centre = (affine @ [*voxel, 1])[:3]
    ball = np.exp(-((millimetres - centre) ** 2).sum(axis=1) / (2 * width**2))
    ramp = 0.02 * np.arange(ball.size) / ball.size
    return np.round(1000 * (ball + ramp)).reshape(shape).astype(np.int16)


def write_nifti(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    """One NIfTI file."""
    nib.save(nib.Nifti1Image(values, affine), path)
    return path
