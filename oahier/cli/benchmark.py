"""``oahier benchmark``: times of an epoch, saliency and statistics on this machine, and what bounds a run."""

from __future__ import annotations

import logging
import math
import os
import platform
import tempfile
import warnings
from argparse import Namespace
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from oahier.cli.next_steps import say_next
from oahier.cli.options import checked
from oahier.cli.parser import PlainParser
from oahier.files import write_json
from oahier.hierarchy import COARSE, FINE
from oahier.specs.errors import read_yaml

_DESCRIPTION = """Measure training, saliency and statistics on this machine.

Says what an epoch takes with and without its data, and whether a run is bound by data: by waiting for
batches rather than by computing. Uses a GPU where there is one.

  oahier benchmark
  oahier benchmark --config own_data.yaml --steps 50 --out mine.json

With --config (as oahier fit takes it, more than once if need be) it is the model, data and precision of
that file, and its knees are preprocessed first; without, a small network on phantom knees. Nothing is
kept of the training.
"""
_PHANTOMS = 24
_SHAPE = (32, 48, 48)
_SMALL: dict[str, Any] = {
    "model": {
        "encoder": {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 16}},
        "heads": {
            COARSE: {"class_path": "oahier.BinaryHead"},
            FINE: {"class_path": "oahier.SoftmaxHead", "init_args": {"num_classes": 5}},
        },
    },
    "data": {"shape": list(_SHAPE), "batch_size": 4},
}
_LABELS = {
    "epoch": "an epoch with data",
    "epoch_without_data": "an epoch without data",
    "waiting": "waiting for data",
    "augmentation": "augmentation on the device",
    "forward": "forward pass and losses",
    "backward": "backward pass",
    "optimizer": "optimizer, and the rest of a step",
    "inference": "forward pass without gradient",
    "saliency": "Grad-CAM of the last map",
    "statistics": "2000 paired resamples of QWK, 500 knees",
}


def benchmark_parser() -> PlainParser:
    """The options of the command."""
    parser = PlainParser("oahier benchmark", _DESCRIPTION)
    parser.add_argument(
        "--config", action="append", default=[], help="configuration of the run", metavar="FILE"
    )
    parser.add_argument("--steps", type=int, default=20, help="training steps to time (%(default)s)")
    parser.add_argument("--out", default="benchmark.json", help="JSON file to write (%(default)s)")
    return parser


def run_benchmark_command(words: list[str]) -> int:
    """Measure, print the table and write the file.

    Returns:
        0.

    Raises:
        ValueError: an option or a configuration that cannot be used.
    """
    options = benchmark_parser().parse_args(words)
    checked("--steps", options.steps, 1)
    if Path(options.out).suffix != ".json":
        raise ValueError(f"--out: expected a file that ends in .json, got {options.out}")
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        result = measured(options, Path(folder))
    Console(highlight=False, soft_wrap=True).print(_table(result))
    print(_verdict(result))
    print(f"for the table of machines in the documentation:\n{row_of(result)}")
    print(f"wrote {write_json(options.out, result)}")
    say_next((["benchmark", "--config", "own_data.yaml"], "the same of a run of your own"))
    return 0


def measured(options: Namespace, folder: Path) -> dict[str, Any]:
    """Everything that the command writes.

    Args:
        options: of the command.
        folder: for phantoms and for the files of the training.
    """
    from oahier.cli.stopwatch import BOUND, STEP, analysis_seconds, statistics_seconds, training_seconds
    from oahier.data import KneeMRIDataModule
    from oahier.study.configuration import instantiate, resolve

    parts = instantiate(
        resolve(_configured(options.config, folder), ", ".join(options.config) or "benchmark")
    )
    if not isinstance(parts.data, KneeMRIDataModule):
        raise ValueError(
            "--config: expected a run on single knees, got one on pairs of visits; give the configuration "
            "of a classifier with the same encoder"
        )
    kept = {name: parts.trainer[name] for name in ("accelerator", "precision") if parts.trainer.get(name)}
    kept["default_root_dir"] = str(folder)
    steps, batch = training_seconds(parts.model, parts.data, kept, options.steps)
    knees = int((parts.data.manifest.table["split"] == "train").sum())
    number = max(1, math.ceil(knees / parts.data.batch_size))
    computing = sum(steps[name] for name in (*STEP, "augmentation"))
    seconds = {
        "epoch": number * (computing + steps["waiting"]),
        "epoch_without_data": number * computing,
        **{name: steps[name] / steps["knees"] for name in ("waiting", "augmentation", *STEP)},
        **{name: value / len(batch["knee"]) for name, value in analysis_seconds(parts.model, batch).items()},
        "statistics": statistics_seconds(),
    }
    share = steps["waiting"] / (computing + steps["waiting"])
    return {
        "machine": _machine(str(batch["mri"].device)),
        "run": {
            "configuration": [Path(path).name for path in options.config] or ["phantoms"],
            "training_knees": knees,
            "shape": list(parts.data.volume_shape),
            "batch_size": parts.data.batch_size,
            "encoder": type(parts.model.encoder).__name__,
            "parameters": sum(weight.numel() for weight in parts.model.parameters()),
            "precision": str(kept.get("precision", "32-true")),
            "steps": options.steps,
        },
        "seconds": seconds,
        "share_waiting": share,
        "bound_by_data": share >= BOUND,
    }


def _configured(paths: list[str], folder: Path) -> dict[str, Any]:
    """The sections of the configurations laid over one another, or those of a small run."""
    from oahier.model.section_classes import flat
    from oahier.study.overrides import merged

    config: dict[str, Any] = {}
    for path in paths:
        config = merged(config, flat(read_yaml(path, f"--config {path}")))
    if not paths:
        from oahier.phantom import make_phantoms

        made = make_phantoms(folder / "phantoms", _PHANTOMS, shape=_SHAPE, progress=False)
        config = merged(_SMALL, {"data": {"manifest": str(made.root / "manifest.csv")}})
    trainer = config.get("trainer") or {}
    kept = {name: trainer[name] for name in ("accelerator", "precision") if name in trainer}
    sections = {name: config.get(name) or {} for name in ("model", "data", "classes")}
    return {"trainer": kept, **sections}


def _machine(device: str) -> dict[str, Any]:
    import torch

    found = {"device": device, "processor": _processor(), "cores": os.cpu_count() or 1}
    if device.startswith("cuda"):
        found["gpu"] = torch.cuda.get_device_name(device)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    found |= {"threads": torch.get_num_threads(), "load": round(load, 1), "python": platform.python_version()}
    return found | {name: version(name) for name in ("oahier", "torch", "lightning")}


def _processor() -> str:
    """The name that Linux has for it, else the architecture."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8", errors="replace").splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _table(result: Mapping[str, Any]) -> Table:
    run, machine = result["run"], result["machine"]
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.title = (
        f"{run['training_knees']} training knees, {_setting(run)}, {run['parameters'] / 1e6:.1f} M weights, "
        f"on {machine.get('gpu', machine['device'])}"
    )
    table.add_column("what")
    table.add_column("time", justify="right")
    for name, label in _LABELS.items():
        value, each = result["seconds"][name], name not in ("epoch", "epoch_without_data", "statistics")
        text = f"{1e3 * value:.2f} ms a knee" if each else f"{value:.3f} s"
        table.add_row(label, "not defined" if math.isnan(value) else text)
    return table


def _setting(run: Mapping[str, Any]) -> str:
    shape = "x".join(map(str, run["shape"]))
    return f"{run['encoder']}, {shape}, batch {run['batch_size']}, {run['precision']}"


def _verdict(result: Mapping[str, Any]) -> str:
    share = f"{result['share_waiting']:.0%} of an epoch is spent waiting for data"
    if result["bound_by_data"]:
        return f"{share}: the run is bound by data (more data.num_workers, a faster disk for the cache)"
    return f"{share}: the run is not bound by data"


def row_of(result: Mapping[str, Any]) -> str:
    """A row for the table of machines in the documentation."""
    machine, run, seconds = result["machine"], result["run"], result["seconds"]
    device = machine.get("gpu") or f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores"
    each = (1e3 * seconds[name] for name in ("waiting", "forward", "backward", "saliency"))
    times = " | ".join(f"{value:.2f}" for value in each)
    epochs = f"{seconds['epoch']:.2f} / {seconds['epoch_without_data']:.2f}"
    return f"| {device} | {_setting(run)} | {run['training_knees']} | {epochs} | {times} |"
