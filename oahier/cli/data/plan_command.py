"""``oahier data plan``: volume size, batch, network and epochs from a cohort's headers and a machine."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from oahier.cli.next_steps import say_next
from oahier.cli.options import checked
from oahier.cli.parser import ArgumentParser
from oahier.data import Manifest, read_manifest
from oahier.encoders import ResNet3D
from oahier.files import write_atomically
from oahier.images.formats import read_grid

_STEPS = 6000
"""Steps of a training, from which epochs follow; between the two bounds."""
_EPOCHS = (20, 100)
_BATCHES = (8, 4, 2, 1)
_STEP = 16
"""Sizes are multiples of this, which five halvings of a network need at least twice."""
_KEPT = 3.0
"""Bytes in use for each byte of activations: gradients and workspace beside them."""
_SHARE = 0.8
"""Of the memory that is there."""


@dataclass(frozen=True)
class TrainingPlan:
    """What a plan proposes; ``settings`` is laid over a configuration, ``reasons`` say why."""

    settings: dict[str, Any]
    reasons: tuple[str, ...]
    steps: int


def plan_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = ArgumentParser(
        prog="oahier data plan",
        description="Propose volume size, spacing, batch size, depth of the encoder and epochs from the "
        "headers of the knees and the memory of this machine: a start to be tuned on validation.",
    )
    parser.add_argument("manifest", type=str, help="the manifest's CSV file, or its folder")
    parser.add_argument(
        "--out", type=str | None, default=None, help="configuration to write, laid over own_data.yaml"
    )
    parser.add_argument(
        "--memory", type=float | None, default=None, help="GB of the device (found when not given)"
    )
    parser.add_argument(
        "--measure", type=int, default=0, help="training steps to time, for the estimate of time"
    )
    return parser


def run(words: list[str]) -> int:
    """Print the plan, and write it where that was asked for.

    Raises:
        ManifestError: a manifest that cannot be read.
        ValueError: no header can be read, or an option out of range.
    """
    options = plan_parser().parse_args(words)
    checked("--measure", options.measure, 0)
    if options.memory is not None and options.memory <= 0:
        raise ValueError(f"--memory: expected GB above 0, got {options.memory:g}")
    manifest = read_manifest(options.manifest)
    plan = plan_training(manifest, options.memory or device_memory())
    text = yaml.safe_dump(plan.settings, sort_keys=False, default_flow_style=None)
    print(*plan.reasons, "", text.rstrip(), sep="\n")
    if options.measure:
        seconds = seconds_a_step(plan.settings, options.measure) * plan.steps
        print(f"\n{plan.steps} steps, about {seconds / 3600:.1f} h of training here, without validation")
    out = options.out or "plan.yaml"
    if options.out:
        comments = "".join(f"# {reason}\n" for reason in plan.reasons)
        print(f"wrote {write_atomically(Path(out), comments + text)}")
    init = ["init", "--manifest", options.manifest]
    fit = ["fit", "--config", "own_data.yaml", "--config", out]
    again = (["data", "plan", *words, "--out", out], "write it")
    say_next(*[again] * (not options.out), (init, "configurations"), (fit, "train with the plan over them"))
    return 0


def plan_training(manifest: Manifest, memory: float) -> TrainingPlan:
    """A plan for the knees of a manifest.

    The volume has the median field of view at the median spacing, coarsened evenly until a batch of four
    fits. Memory is counted from the outputs of the network's layers.

    Args:
        manifest: with the files of the knees; the training split counts where there is one.
        memory: GB of the device.

    Raises:
        ValueError: no header can be read.
    """
    knees = manifest.subset("train") if manifest.has_splits else manifest
    knees = knees if len(knees) else manifest
    files = [knees.file(row, "mri") for row in range(len(knees))]
    grids = [read_grid(path) for path in files if path is not None]
    if not grids:
        raise ValueError(f"{manifest.name}: expected knees with images, got none")
    spacings = np.array([grid.spacing for grid in grids])
    extents = np.array([np.array(grid.shape) * grid.spacing for grid in grids])
    extent, finest = np.median(extents, axis=0), np.median(spacings, axis=0)
    training = len(knees) if manifest.has_splits else round(0.7 * len(knees))
    depth = 10 if training < 200 else 18 if training < 2000 else 34
    encoder = ResNet3D(depth=depth, width=32)
    each = bytes_a_voxel(encoder) * _KEPT
    shape, batch = _fitting(extent, finest, each, _SHARE * memory * 1e9)
    spacing = tuple(round(float(length), 3) for length in extent / np.array(shape))
    steps_an_epoch = max(1, training // batch)
    epochs = int(np.clip(round(_STEPS / steps_an_epoch), *_EPOCHS))
    low, high = spacings.min(axis=0), spacings.max(axis=0)
    cuda = torch.cuda.is_available()
    settings = {
        "trainer": {"max_epochs": epochs, "precision": "bf16-mixed" if cuda else "32-true"},
        "model": {"encoder": {
            "class_path": "oahier.ResNet3D",
            "init_args": {"depth": depth, "width": 32, "norm": "batch" if batch >= 4 else "group"},
        }},
        "data": {
            "shape": list(shape), "spacing": list(spacing), "batch_size": batch,
            "num_workers": max(0, min(8, (os.cpu_count() or 1) - 1)),
        },
    }  # fmt: skip
    needed = each * batch * float(np.prod(shape)) / 1e9
    reasons = (
        f"{len(grids)} knees: median field of view {_mm(extent)} mm, spacing {_mm(finest)} mm "
        f"({_mm(low)} to {_mm(high)})",
        f"{' x '.join(map(str, shape))} voxels of {_mm(spacing)} mm, batch {batch}: about {needed:.1f} of "
        f"{memory:.0f} GB",
        f"ResNet3D({depth}) for {training} training knees; {epochs} epochs of {steps_an_epoch} steps",
    )
    return TrainingPlan(settings, reasons, epochs * steps_an_epoch)


def _fitting(
    extent: np.ndarray, spacing: np.ndarray, each: float, room: float
) -> tuple[tuple[int, ...], int]:
    """The finest shape with which a batch of four fits, else the batch that does with the coarsest."""
    shape: tuple[int, ...] = (_STEP,) * 3
    for factor in 1.1 ** np.arange(40):
        voxels = extent / (spacing * factor)
        shape = tuple(int(max(_STEP, _STEP * round(count / _STEP))) for count in voxels)
        for batch in _BATCHES[:2]:
            if each * batch * np.prod(shape) <= room:
                return shape, batch
    fits = [batch for batch in _BATCHES if each * batch * np.prod(shape) <= room]
    return shape, fits[0] if fits else 1


def bytes_a_voxel(encoder: torch.nn.Module, side: int = 32) -> float:
    """Bytes of single precision that the layers of an encoder put out for each voxel of a volume.

    Args:
        encoder: the network.
        side: voxels of the cube that is tried.
    """
    sizes: list[int] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.numel()))
        for module in encoder.modules()
        if not list(module.children())
    ]
    encoder.eval()
    with torch.no_grad():
        encoder(torch.zeros(1, 1, side, side, side))
    for hook in hooks:
        hook.remove()
    return 4 * sum(sizes) / side**3


def device_memory() -> float:
    """GB of the first CUDA device, else half of this machine's memory."""
    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory) / 1e9
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2e9


def seconds_a_step(settings: dict[str, Any], steps: int) -> float:
    """Mean time of training steps of the planned network on random volumes, the first left out."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arguments = settings["model"]["encoder"]["init_args"]
    encoder = ResNet3D(**arguments).to(device).train()
    volume = torch.randn(settings["data"]["batch_size"], 1, *settings["data"]["shape"], device=device)
    times: list[float] = []
    for _ in range(steps + 1):
        start = time.monotonic()
        encoder(volume).square().mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.monotonic() - start)
    return float(np.mean(times[1:]))


def _mm(lengths: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{length:.3g}" for length in lengths)
