"""The fastest way to train a model on a device, found by a trial that disturbs nothing."""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning.pytorch.utilities.seed import isolate_rng

from oahier.model import HierarchicalClassifier
from oahier.specs.errors import first_line
from oahier.speed.choice import Precision, Speed
from oahier.speed.copies import TrainingCopy, copied
from oahier.speed.table import Trial
from oahier.speed.trial import STEPS, Steps, compare_candidates
from oahier.types import Batch


class TrialError(ValueError):
    """A trial cannot be made; the message says why and what to do."""


def fastest(
    model: HierarchicalClassifier,
    batches: Sequence[Batch],
    *,
    device: torch.device | str = "cpu",
    class_counts: Mapping[str, Sequence[int]] | None = None,
    precision: Precision = "32-true",
    steps: int = STEPS,
    planned_steps: int | None = None,
    clock: Callable[[], float] | None = None,
) -> Trial:
    """Try ways to train a model, 20 steps each, and choose the fastest that is right.

    ``channels_last_3d``, mixed precision (bfloat16 where the device has it, else float16 on CUDA), both, and
    the best of these with ``torch.compile`` take steps in turn with eager steps, on copies of the model. One
    is taken if the 98.8 % interval of eager's time over its own lies above 1, if loss, log-probabilities
    and gradient are within :data:`~oahier.speed.deviation.SAME` or
    :data:`~oahier.speed.deviation.MIXED` of eager's, and, for a compilation, if ``planned_steps`` win its
    time back. Otherwise eager stays. What cannot run (no compiler, no memory) is a row of the table.

    Weights, buffers, modes and all random states are afterwards as they were.

    Args:
        model: to train.
        batches: one or more training batches.
        device: to try on.
        class_counts: training knees of each class by target, for heads that use them.
        precision: of the trainer; other precisions are tried where it is ``"32-true"`` only.
        steps: to time for each candidate.
        planned_steps: of the training; not known when not given.
        clock: seconds; by default the device's, synchronised.

    Raises:
        TrialError: an eager step cannot be made.
        ValueError: no batches, or fewer than seven steps, of which no interval can be made.
    """
    if not batches:
        raise ValueError("fastest: expected one training batch or more, got none")
    if steps < 7:
        raise ValueError(f"fastest: steps: expected 7 or more, of which an interval can be made, got {steps}")
    device = torch.device(device)
    there = [move_data_to_device(batch, device) for batch in batches]
    tried = available_precisions(device) if precision == "32-true" else ()
    with _undisturbed(device):
        prepared = _prepared(model, class_counts)

        def make(speed: Speed) -> Steps:
            return TrainingCopy(prepared, speed, there, device, precision, clock)

        try:
            return compare_candidates(
                make,
                tried,
                device=in_words(device),
                baseline=precision,
                steps=steps,
                planned_steps=planned_steps,
            )
        except Exception as error:
            raise TrialError(
                f"speed: auto: a training step could not be tried ({type(error).__name__}: "
                f"{first_line(error)}); name the choice instead, for example speed: none"
            ) from error


def available_precisions(device: torch.device) -> tuple[Precision, ...]:
    """Mixed precision worth a trial: one that the device has instructions for.

    A processor without them computes bfloat16 many times slower than float32.
    """
    if device.type == "cuda":
        return ("bf16-mixed",) if torch.cuda.is_bf16_supported(including_emulation=False) else ("16-mixed",)
    known: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    capabilities = known() if device.type == "cpu" else {}
    return ("bf16-mixed",) if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else ()


def in_words(device: torch.device) -> str:
    """Name of a GPU, or a processor's architecture and threads."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def _prepared(
    model: HierarchicalClassifier, counts: Mapping[str, Sequence[int]] | None
) -> HierarchicalClassifier:
    """A copy that is ready to train."""
    made = copied(model)
    made._prepare(counts)
    made.weighting.begin_epoch(0)
    return made


@contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Random states as before afterwards, nothing of compilers and memory left, no warnings of theirs."""
    mps = torch.mps.get_rng_state() if device.type == "mps" else None
    log = logging.getLogger("torch.utils.cpp_extension")  # says that there is no CUDA
    level = log.level
    with warnings.catch_warnings(), isolate_rng(), torch.enable_grad():
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)
            torch.compiler.reset()
            if device.type == "cuda":
                torch.cuda.empty_cache()
            if mps is not None:
                torch.mps.set_rng_state(mps)
