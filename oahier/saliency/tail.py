"""Explaining a head of a model through its tail: feature map, pooling, head."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from oahier.heads import Head
from oahier.saliency import (
    CamMethod,
    class_activation_map,
    randomised_parameters,
    smoothgrad_times_input,
    tail_score,
)
from oahier.types import MISSING

Explained = Literal["severity", "predicted", "true"]
SaliencyMethod = CamMethod | Literal["smoothgrad"]


class TailExplainer:
    """Saliency of one head's score for batches that a model has just seen.

    The head is evaluated in float64, where a score saturates at a logit gap of about 37 instead of 17; a
    map whose gradient vanished all the same is zero. A head that learns without teaching the encoder
    (``probe=True``) is explained like any other: its input is not detached here.

    Args:
        model: has ``encoder`` and ``heads``.
        head: name of the head.
        score: its severity, or the logit (log-probability if there is no logit a class) of the predicted
            or of the true class.
        method: see :func:`oahier.saliency.class_activation_map`; ``"smoothgrad"`` is SmoothGrad x input in
            absolute value, which runs the encoder forwards and backwards eight times.
        stage: feature map to explain; -1 is the coarsest.
        random_seed: explain a head with weights drawn anew from this seed (a control).
    """

    def __init__(
        self,
        model: Any,
        head: str,
        *,
        score: Explained = "severity",
        method: SaliencyMethod = "gradcam",
        stage: int = -1,
        random_seed: int | None = None,
    ) -> None:
        self.encoder: Any = model.encoder
        self.heads: nn.ModuleDict = model.heads
        self.head, self.score, self.method, self.stage = head, score, method, stage
        self._drawn: dict[str, dict[str, Tensor]] = {}
        if random_seed is not None:
            generator = torch.Generator().manual_seed(random_seed)
            self._drawn = {name: randomised_parameters(part, generator) for name, part in self.heads.items()}

    def __call__(
        self, features: Sequence[Tensor], labels: Tensor, mri: Tensor, knees: Sequence[str]
    ) -> Tensor:
        """Saliency ``(batch, *grid)``, at least zero; NaN for a knee without the label to explain.

        Args:
            features: the encoder's maps, finest first.
            labels: ``(batch,)`` labels of the head.
            mri: ``(batch, 1, i, j, k)``, read by SmoothGrad only.
            knees: ids, which seed SmoothGrad's noise.

        Raises:
            RuntimeError: the encoder or a head is in training mode.
        """
        training = [name for name, part in (("encoder", self.encoder), *self.heads.items()) if part.training]
        if training:
            raise RuntimeError(
                f"saliency needs a model in evaluation mode, but {training} are in training mode"
            )
        with torch.inference_mode(False):
            labels = labels.clone()
        read = self._reader(labels)
        if self.method == "smoothgrad":
            saliency = self._smoothgrad(read, mri, knees)
        else:
            kind = _working_dtype(self.encoder, features[-1])
            maps = [item.to(kind) for item in features]
            score = tail_score(
                maps, read, stage=self.stage, resume=self.encoder.resume, embed=self.encoder.embed
            )
            saliency = class_activation_map(maps[self.stage], score, method=self.method)
        if self.score == "true":
            saliency = saliency.masked_fill((labels == MISSING).view(-1, 1, 1, 1), float("nan"))
        return saliency

    def _reader(self, labels: Tensor) -> Callable[[Tensor], Tensor]:
        head = self.heads[self.head]
        if not isinstance(head, Head):
            raise TypeError(f"heads[{self.head!r}]: expected an oahier Head, got {type(head).__name__}")

        def read(embedding: Tensor) -> Tensor:
            logits = self._logits(self.head, embedding.to(_wide_dtype(embedding.device)))
            if self.score == "severity":
                return head.severity(logits)
            if self.score == "predicted":
                return _class_score(head, logits, head.probabilities(logits).argmax(dim=1))
            return _class_score(head, logits, labels.clamp(min=0))

        return read

    def _logits(self, name: str, embedding: Tensor) -> Tensor:
        head: Any = self.heads[name]
        source = embedding
        if head.reads is not None:
            source = head.input_from(self.heads[head.reads], self._logits(head.reads, embedding))
        state = {**dict(head.named_parameters()), **dict(head.named_buffers()), **self._drawn.get(name, {})}
        wide = {key: item.to(embedding.dtype) for key, item in state.items() if item.is_floating_point()}
        logits: Tensor = functional_call(head, wide, (source,))
        return logits

    def _smoothgrad(self, read: Callable[[Tensor], Tensor], mri: Tensor, knees: Sequence[str]) -> Tensor:
        seeds = [zlib.crc32(knee.encode()) for knee in knees]
        kind = _working_dtype(self.encoder, mri)
        with torch.autocast(mri.device.type, enabled=False):
            attribution = smoothgrad_times_input(
                lambda volume: read(self.encoder(volume)),
                mri.to(kind),
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            )
        return attribution.abs()


def head_to_explain(heads: Mapping[str, Any], name: str | None) -> str:
    """The named head; by default the first with grades, or else the first.

    Raises:
        ValueError: no head has that name.
    """
    if name is None:
        graded = [key for key, head in heads.items() if head.num_classes > 2]
        return (graded or list(heads))[0]
    if name not in heads:
        raise ValueError(f"head: expected one of {sorted(heads)}, got {name!r}")
    return name


def _class_score(head: Head, logits: Tensor, classes: Tensor) -> Tensor:
    if logits.shape[1] == head.num_classes:
        scores = logits
    elif logits.shape[1] == 1 and head.num_classes == 2:
        scores = torch.cat([-logits, logits], dim=1)
    else:
        scores = head.probabilities(logits).log()
    return scores.gather(1, classes[:, None])[:, 0]


def _wide_dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def _working_dtype(encoder: nn.Module, like: Tensor) -> torch.dtype:
    """The precision of the encoder's weights: maps made under autocast are half as wide."""
    parameter = next(encoder.parameters(), None)
    return torch.promote_types(like.dtype, torch.float32) if parameter is None else parameter.dtype
