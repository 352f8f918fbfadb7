"""Pretrained weights of a local file in any encoder, matched by name and shape."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from oahier.encoders.base import Encoder
from oahier.encoders.weight_files import PretrainedError, read_weights

_log = logging.getLogger(__name__)

Replacements = Sequence[Sequence[str]]
"""Pairs of a regular expression and what replaces it, applied in order."""


@dataclass(frozen=True)
class Pretrained:
    """What a file of weights gave an encoder; ``print`` it."""

    path: str
    prefix: str
    """What was cut from the names in the file."""
    share: float
    """Share of the encoder's numbers that come from the file."""
    matched: tuple[str, ...]
    """The encoder's tensors that were loaded."""
    missing: tuple[str, ...]
    """The encoder's tensors that kept their values."""
    unfit: tuple[str, ...]
    """Names with the shape in the file and the one that was expected."""
    unused: tuple[str, ...]
    """Names in the file that the encoder has no use for: a decoder, a classifier."""

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.share:.1%} of the encoder's weights ({len(self.matched)} of "
            f"{len(self.matched) + len(self.missing)} tensors) loaded"
            + (f", {self.prefix!r} cut from the names" if self.prefix else "")
        ]
        lines += [
            f"{words}: {_some(names)}"
            for words, names in (
                ("as before", self.missing), ("of another shape", self.unfit), ("not used", self.unused)
            )
            if names
        ]  # fmt: skip
        return "; ".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)


def load_pretrained(
    encoder: Encoder,
    path: str | Path,
    *,
    prefix: str | None = None,
    replace: Replacements = (),
    minimum: float = 0.9,
) -> Pretrained:
    """Load the weights of a file into an encoder, in place.

    A name in the file, less the prefix and after the replacements, is that of a tensor of the encoder or the
    one that its own library has for it (:meth:`Encoder.native_names <oahier.encoders.Encoder.native_names>`).
    So files of MedicalNet fit :class:`~oahier.ResNet3D` and MONAI's ResNets, those of timm fit timm-3d's
    networks (two-dimensional kernels are inflated, Carreira & Zisserman 2017, arXiv:1705.07750) and those of
    OpenMind :class:`~oahier.encoders.ResEnc`. A first convolution over several channels is summed over them.

    Args:
        encoder: gets the weights; those that the file does not have stay as they are.
        path: see :func:`~oahier.encoders.weight_files.read_weights`.
        prefix: cut from names in the file, such as ``"module."``; names without it are not used. When not
            given, the one with which most names match.
        replace: pairs of a regular expression and its replacement (``re.sub``), after the prefix.
        minimum: share of the encoder's numbers that has to come from the file, 0 to 1.

    Returns:
        Which names matched.

    Raises:
        PretrainedError: see :func:`~oahier.encoders.weight_files.read_weights`; fewer weights match than
            ``minimum``, two names of the file mean one tensor, or weights are not finite. The encoder is as
            before then.
        ValueError: a replacement that is no pair, or no regular expression.
    """
    found = read_weights(path)
    wanted: dict[str, Tensor] = encoder.state_dict()
    native = {**encoder.native_names(), **{name: name for name in wanted}}
    rules = [_rule(pair) for pair in replace]
    candidates = _prefixes(found) if prefix is None else [prefix]
    best = max(candidates, key=lambda one: len(set(_named(found, one, rules, native).values())))
    names = _named(found, best, rules, native)
    _refuse_doubles(path, names)
    loaded: dict[str, Tensor] = {}
    unfit = []
    for theirs, own in names.items():
        fitting = _fitted(found[theirs], wanted[own])
        if fitting is None:
            unfit.append(f"{own} {tuple(found[theirs].shape)} for {tuple(wanted[own].shape)}")
        elif fitting.is_floating_point() and not bool(torch.isfinite(fitting).all()):
            raise PretrainedError(f"pretrained weights {path}: {theirs} has values that are not finite")
        else:
            loaded[own] = fitting
    missing = [name for name in wanted if name not in loaded and not name.endswith("num_batches_tracked")]
    total = sum(wanted[name].numel() for name in [*loaded, *missing])
    report = Pretrained(
        path=str(path),
        prefix=best,
        share=sum(wanted[name].numel() for name in loaded) / max(total, 1),
        matched=tuple(loaded),
        missing=tuple(missing),
        unfit=tuple(unfit),
        unused=tuple(name for name in found if name not in names),
    )
    if report.share < minimum:
        raise PretrainedError(
            f"{type(encoder).__name__}: expected at least {minimum:.0%} of its weights in the file, found "
            f"less: {report}. Is the file of this architecture, depth and width? Names can be translated by "
            f"prefix= and replace= (the encoder has {_some(list(wanted))}), and minimum= accepts fewer"
        )
    encoder.load_state_dict(loaded, strict=False)
    _log.info("pretrained weights %s", report)
    return report


def _rule(pair: Any) -> tuple[re.Pattern[str], str]:
    try:
        pattern, replacement = pair
        return re.compile(pattern), str(replacement)
    except (TypeError, ValueError, re.error) as error:
        raise ValueError(
            f"replace: expected pairs of a regular expression and its replacement, such as "
            f"[['^layer(\\d)', 'stages.\\\\1']], got {pair!r} ({error})"
        ) from error


def _prefixes(names: Iterable[str]) -> list[str]:
    """Nothing, and all beginnings of names up to a dot; the shorter, the earlier."""
    found = {name[: position + 1] for name in names for position, letter in enumerate(name) if letter == "."}
    return ["", *sorted(found, key=lambda prefix: (len(prefix), prefix))]


def _named(
    names: Iterable[str], prefix: str, rules: Sequence[tuple[re.Pattern[str], str]], native: Mapping[str, str]
) -> dict[str, str]:
    """Names of the encoder's tensors by names in the file, for those that have one."""
    matched = {}
    for name in names:
        if not name.startswith(prefix):
            continue
        translated = name.removeprefix(prefix)
        for pattern, replacement in rules:
            translated = pattern.sub(replacement, translated)
        if translated in native:
            matched[name] = native[translated]
    return matched


def _refuse_doubles(path: str | Path, names: Mapping[str, str]) -> None:
    several = [own for own, count in Counter(names.values()).items() if count > 1]
    if several:
        theirs = [name for name, own in names.items() if own == several[0]]
        raise PretrainedError(
            f"pretrained weights {path}: {' and '.join(theirs)} would both become {several[0]}; give a "
            "prefix or replacements that tell them apart"
        )


def _fitted(found: Tensor, wanted: Tensor) -> Tensor | None:
    """A tensor in the shape of another: inflated, summed over the channels of the input, or none."""
    if found.ndim == 4 and wanted.ndim == 5:
        depth = wanted.shape[-1]
        found = found.unsqueeze(-1).expand(*found.shape, depth) / depth
    if found.ndim == wanted.ndim == 5 and wanted.shape[1] == 1 and found.shape[0] == wanted.shape[0]:
        found = found.sum(dim=1, keepdim=True)
    return found if found.shape == wanted.shape else None


def _some(names: Sequence[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
