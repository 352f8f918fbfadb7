"""Memory and work of a training step of each encoder, by shape of the volume.

    python -m benchmarks.encoder_cost [--out FILE.md] [--encoders NAME ...]

Counted without computing anything, so the same on every machine: parameters, operations of a forward pass,
and the tensors that autograd keeps for the backward pass of one volume in 32 bit. Measured on the processor,
in a process of its own, at the smaller shapes: seconds of one thread, and how much the process grew (Linux).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from oahier.encoders import Encoder, create_encoder

ENCODERS = ("resnet3d", "m3t", "nnmamba", "timm3d/resnet18", "timm3d/densenet121", "monai/densenet121")
MEASURED = ((32, 48, 48), (64, 96, 96))
COUNTED = (*MEASURED, (80, 192, 192))
Shape = tuple[int, int, int]
_BATCH = 2
"""Volumes, as batch normalisation needs two where a map has one voxel."""


@dataclass(frozen=True)
class Counted:
    """Counts of one volume: parameters, bytes kept for the backward pass, multiplications and additions."""

    parameters: int
    kept: int
    operations: int

    def training(self, volumes: int) -> int:
        """Bytes of weights, gradients, AdamW's two states and of what autograd keeps for a batch."""
        return 16 * self.parameters + volumes * self.kept


def counted(encoder: Encoder, shape: Shape) -> Counted:
    """What a training step needs, from shapes alone."""
    encoder.train()
    without_values = FakeTensorMode(allow_non_fake_inputs=True)
    state = [*encoder.parameters(), *encoder.buffers()]
    state += [without_values.from_tensor(item) for item in state]
    own = {_storage(item) for item in state}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if _storage(tensor) not in own:
            kept[_storage(tensor)] = tensor  # alive, so that no other storage gets its number
        return tensor

    with (
        without_values,
        FlopCounterMode(display=False) as operations,
        saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        _embedding(encoder, shape)
    parameters = sum(item.numel() for item in encoder.parameters())
    held = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return Counted(parameters, held // _BATCH, operations.get_total_flops() // _BATCH)


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _embedding(encoder: Encoder, shape: Shape) -> torch.Tensor:
    return encoder.embed(encoder.features(torch.zeros(_BATCH, 1, *shape)))


def measured(name: str, shape: Shape) -> tuple[float, float]:
    """Seconds of one thread and bytes of a forward and backward pass, in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.encoder_cost", "--measure", name, *map(str, shape)]
    seconds, grown = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return seconds, grown


def _measure(name: str, shape: Shape) -> tuple[float, float]:
    torch.set_num_threads(1)
    encoder = create_encoder(name).train()
    _embedding(encoder, (32, 32, 32)).sum().backward()  # everything is loaded and allocated once
    encoder.zero_grad()
    Path("/proc/self/clear_refs").write_text("5")  # the peak from now on
    before, start = _memory("VmRSS"), time.process_time()
    _embedding(encoder, shape).sum().backward()
    return time.process_time() - start, _memory("VmHWM") - before


def _memory(name: str) -> float:
    """Bytes of this process, as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def rows(encoders: Sequence[str], shapes: Sequence[Shape], at: Sequence[Shape]) -> list[list[str]]:
    """The lines of the table."""
    lines = []
    for name in encoders:
        encoder = create_encoder(name)
        for shape in shapes:
            count = counted(encoder, shape)
            taken = measured(name, shape) if shape in at else None
            line = [
                f"`{name}`", "x".join(map(str, shape)), f"{count.parameters / 1e6:.1f} M",
                f"{count.operations / 2e9:.1f}", f"{count.kept / 2**30:.2f}",
                f"{count.training(1) / 2**30:.2f}", f"{count.training(4) / 2**30:.1f}",
            ]  # fmt: skip
            line += [f"{taken[0] / _BATCH:.2f}", f"{taken[1] / 2**30:.2f}"] if taken else ["", ""]
            lines.append(line)
            print(" ".join(line), file=sys.stderr)
    return lines


HEADER = ["encoder", "volume", "parameters", "10^9 multiplications", "GiB kept a volume", "GiB, batch of 1",
          "GiB, batch of 4", "CPU seconds a volume", "GiB grown, batch of 2"]  # fmt: skip


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """The table as it stands on the page."""
    table = [HEADER, ["---"] * len(HEADER), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Count and measure what is asked for."""
    parser = argparse.ArgumentParser("python -m benchmarks.encoder_cost", description=__doc__)
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS))
    parser.add_argument("--out", type=Path, help="also write the table, as .md")
    parser.add_argument("--measure", nargs=4, metavar=("NAME", "I", "J", "K"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        name, i, j, k = options.measure
        print(json.dumps(_measure(name, (int(i), int(j), int(k)))))
        return
    table = markdown(rows(options.encoders, COUNTED, MEASURED))
    print(table)
    if options.out:
        options.out.write_text(table)


if __name__ == "__main__":
    main()
