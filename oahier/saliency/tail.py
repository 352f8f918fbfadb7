"""Explaining a head of a model through its tail: feature map, pooling, head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from oahier.heads import Head
from oahier.saliency.method import ExplainedKnees, SaliencyMethod
from oahier.saliency.registry import as_method
from oahier.types import MISSING

Explained = Literal["severity", "predicted", "true"]


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
        method: a :class:`~oahier.saliency.SaliencyMethod`, or the name of one.
        stage: feature map to explain, for a method that explains one; -1 is the coarsest.
    """

    def __init__(
        self,
        model: Any,
        head: str,
        *,
        score: Explained = "severity",
        method: SaliencyMethod | str = "gradcam",
        stage: int = -1,
    ) -> None:
        self.encoder: Any = model.encoder
        self.heads: nn.ModuleDict = model.heads
        self.head, self.score = head, score
        self.method = as_method(method).at(stage) if stage != -1 else as_method(method)

    def __call__(
        self, features: Sequence[Tensor], labels: Tensor, mri: Tensor, knees: Sequence[str]
    ) -> Tensor:
        """Saliency ``(batch, *grid)``, at least zero; NaN for a knee without the label to explain.

        Args:
            features: the encoder's maps, finest first.
            labels: ``(batch,)`` labels of the head.
            mri: ``(batch, 1, i, j, k)``.
            knees: ids, which seed what is random in a method.

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
        saliency = self.method(ExplainedKnees(self.encoder, self._reader(labels), mri, features, knees))
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
        state = {**dict(head.named_parameters()), **dict(head.named_buffers())}
        wide = {key: item.to(embedding.dtype) for key, item in state.items() if item.is_floating_point()}
        logits: Tensor = functional_call(head, wide, (source,))
        return logits


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
    if getattr(head, "own_logits", False):  # as many logits as classes may be, and yet not one a class
        scores = head.log_probabilities(logits)
    elif logits.shape[1] == head.num_classes:
        scores = logits
    elif logits.shape[1] == 1 and head.num_classes == 2:
        scores = torch.cat([-logits, logits], dim=1)
    else:
        scores = head.log_probabilities(logits)
    return scores.gather(1, classes[:, None])[:, 0]


def _wide_dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
