"""Grad-CAM and its overlap with cartilage, over the validation forward pass alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

import oahier as oh
from benchmarks.harness import Comparison, Cost, cost
from benchmarks.volumes import batches, dual_model
from oahier.encoders.base import StagedEncoder
from oahier.saliency import class_activation_map, resample, saliency_overlap, tail_score
from oahier.types import Batch

Features = Sequence[Tensor]
Explain = Callable[[Batch, Features], object]


class Severity(nn.Module):
    """Expected grade of a volume: what the other packages take as a model."""

    def __init__(self, model: oh.HierarchicalClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, volume: Tensor) -> Tensor:
        """``(batch,)``."""
        return head_of(self.model).severity(self.model(volume)["kl"])


def head_of(model: oh.HierarchicalClassifier) -> oh.Head:
    """The head that is explained."""
    return cast("oh.Head", model.heads["kl"])


def last_stage(model: oh.HierarchicalClassifier) -> nn.Module:
    """The module that makes the explained map, where the other packages set their hooks."""
    return cast("StagedEncoder", model.encoder).stages()[-1]


def saliency(quick: bool) -> list[Comparison]:
    """Goal: forward and saliency together at most 5 % above the forward pass."""
    if quick:
        return _compare(dual_model(), "ResNet3D-18 of width 32", (16, 24, 24), knees=4, rounds=1)
    results = []
    for encoder, name in ((None, "ResNet3D-18 of width 32"), ("timm3d/resnet18", "timm3d/resnet18")):
        results += _compare(dual_model(encoder), name, (64, 96, 96), knees=16, rounds=5)
    return results


def _compare(
    model: oh.HierarchicalClassifier, name: str, shape: tuple[int, int, int], knees: int, rounds: int
) -> list[Comparison]:
    model.eval()
    data = batches(knees, shape, 4, "val")
    packages = {"oahier": _oahier(model), "grad-cam": _grad_cam(model), "captum": _captum(model, shape)}
    epochs = [_epoch(model, data, packages) for _ in range(rounds + 1)][1:]
    note = f"{knees} knees of {'x'.join(map(str, shape))}, batch 4, {name}"
    results = []
    for package in packages:
        made = tuple((epoch["forward"] + epoch[package], epoch["forward"]) for epoch in epochs)
        ours = package == "oahier"
        what = "forward, Grad-CAM and overlap (oahier)" if ours else f"forward, Grad-CAM ({package})"
        results.append(Comparison(what, "forward", made, 1.05 if ours else None, note=note))
    return results


def _epoch(
    model: oh.HierarchicalClassifier, data: Sequence[Batch], packages: dict[str, Explain]
) -> dict[str, Cost]:
    """Cost of the forward passes and of each package, batch by batch in turn."""
    total = dict.fromkeys(("forward", *packages), Cost())
    for batch in data:
        features: list[Tensor] = []
        total["forward"] += cost(partial(_forward, model, batch, features))
        for package, explain in packages.items():
            total[package] += cost(partial(explain, batch, features))
    return total


@torch.no_grad()
def _forward(model: oh.HierarchicalClassifier, batch: Batch, features: list[Tensor]) -> None:
    features.extend(model.encoder.features(batch["mri"]))
    model.logits_from_embedding(model.encoder.embed(features))


def _oahier(model: oh.HierarchicalClassifier) -> Explain:
    head, encoder = head_of(model), model.encoder

    def explain(batch: Batch, features: Features) -> object:
        score = tail_score(features, lambda e: head.severity(head(e)), embed=encoder.embed)
        volume = resample(class_activation_map(features[-1], score), batch["mri"].shape[2:])
        return saliency_overlap(volume, batch["cartilage"][:, 0] > 0)

    return explain


def _grad_cam(model: oh.HierarchicalClassifier) -> Explain:
    from pytorch_grad_cam import GradCAM

    def explain(batch: Batch, _: Features) -> object:
        with GradCAM(Severity(model), [last_stage(model)]) as cam:
            return cam(batch["mri"], targets=[lambda severity: severity] * len(batch["knee"]))

    return explain


def _captum(model: oh.HierarchicalClassifier, shape: tuple[int, int, int]) -> Explain:
    from captum.attr import LayerAttribution, LayerGradCam

    explainer = LayerGradCam(Severity(model), last_stage(model))

    def explain(batch: Batch, _: Features) -> object:
        cam = explainer.attribute(batch["mri"], relu_attributions=True)
        return LayerAttribution.interpolate(cam, shape, interpolate_mode="trilinear")

    return explain
