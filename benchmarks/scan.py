"""A Mamba layer over that of mambapy with the same weights: seconds and peak memory of a training step."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.harness import Comparison, Cost, Round, in_turn
from oahier.encoders.mamba import Mamba

_WIDTH, _STATES = 32, 8


def scan(quick: bool) -> list[Comparison]:
    """Goals: at least three times as fast, with at most a quarter of the peak memory."""
    if quick:
        return _compare(1024, rounds=1)
    return [result for tokens, rounds in ((65_536, 5), (262_144, 3)) for result in _compare(tokens, rounds)]


def _compare(tokens: int, rounds: int) -> list[Comparison]:
    ours, theirs, inputs = _layer("oahier"), _layer("mambapy"), _inputs(tokens)
    seconds = in_turn(partial(_step, ours, inputs), partial(_step, theirs, inputs), rounds)
    peaks = tuple(_peaks(tokens) for _ in range(1 if tokens < 65_536 else 3))
    note = f"{tokens} tokens, {_WIDTH} channels, {2 * _WIDTH} inside, {_STATES} states"
    return [
        Comparison("Mamba layer, forward and backward", "mambapy", seconds, 1 / 3, note=note),
        Comparison("its peak memory (GB, not seconds)", "mambapy", peaks, 1 / 4, note=note),
    ]


def _layer(side: str) -> nn.Module:
    torch.manual_seed(0)
    if side == "oahier":
        return Mamba(_WIDTH, states=_STATES)
    from mambapy.mamba import MambaBlock, MambaConfig

    layer: nn.Module = MambaBlock(MambaConfig(d_model=_WIDTH, n_layers=1, d_state=_STATES))
    return layer


def _inputs(tokens: int) -> Tensor:
    return torch.randn(1, tokens, _WIDTH, generator=torch.Generator().manual_seed(0), requires_grad=True)


def _step(layer: nn.Module, inputs: Tensor) -> None:
    torch.autograd.grad(layer(inputs).sum(), [inputs, *layer.parameters()])


def _peaks(tokens: int) -> Round:
    ours, theirs = (_peak(side, tokens) for side in ("oahier", "mambapy"))
    return Cost(ours, ours), Cost(theirs, theirs)


def _peak(side: str, tokens: int) -> float:
    """Gigabytes that one step adds to a fresh process at its highest."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scan", side, str(tokens)]
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return float(done.stdout)


def _measure(side: str, tokens: int) -> float:
    layer, inputs = _layer(side), _inputs(tokens)
    _step(layer, _inputs(64))
    if side == "oahier":
        import torch._dynamo  # noqa: F401 - what activation checkpointing imports when it is first used
    before = _highest()
    _step(layer, inputs)
    return (_highest() - before) / 1e9


def _highest() -> float:
    """Bytes; the high-water mark of this program alone where Linux tells it."""
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if found:
            return 1024.0 * int(found[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(_measure(sys.argv[1], int(sys.argv[2])))
