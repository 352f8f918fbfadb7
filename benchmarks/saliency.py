"""Grad-CAM and its overlap with cartilage for an epoch, over the validation forward pass alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.harness import Comparison, alternate, seconds
from benchmarks.volumes import batches, dual_model
from oahier.analysis import class_activation_map, resample, saliency_overlap, tail_score
from oahier.types import Batch


class _Grades(nn.Module):
    """KL logits of a volume: what the other packages take as a model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, volume: Tensor) -> Tensor:
        """``(batch, 5)``."""
        return self.model(volume)["kl"]


def saliency(quick: bool) -> list[Comparison]:
    """Goal: forward and saliency together at most 5 % above the forward pass."""
    shape, knees, rounds = ((16, 24, 24), 4, 2) if quick else ((64, 96, 96), 24, 7)
    model = dual_model().eval()
    data: list[Batch] = list(batches(knees, shape, 4, "val"))
    head = model.heads["kl"]

    @torch.no_grad()
    def forward() -> list[tuple[Tensor, ...]]:
        maps = []
        for batch in data:
            features = model.encoder.features(batch["mri"])
            model.logits_from_embedding(model.encoder.embed(features))
            maps.append(features)
        return maps

    def ours() -> None:
        for batch, features in zip(data, forward(), strict=True):
            score = tail_score(features, lambda e: head.severity(head(e)), embed=model.encoder.embed)
            cam = class_activation_map(features[-1], score)
            saliency_overlap(resample(cam, shape), batch["cartilage"][:, 0] > 0)

    def grad_cam_package() -> None:
        from pytorch_grad_cam import GradCAM

        forward()
        with GradCAM(_Grades(model), [model.encoder.stages()[-1]]) as cam:
            for batch in data:
                cam(batch["mri"], targets=[lambda output: output[4]] * len(batch["knee"]))

    def captum() -> None:
        from captum.attr import LayerAttribution, LayerGradCam

        forward()
        explain = LayerGradCam(_Grades(model), model.encoder.stages()[-1])
        for batch in data:
            cam = explain.attribute(batch["mri"], target=4, relu_attributions=True)
            LayerAttribution.interpolate(cam, shape, interpolate_mode="trilinear")

    note = f"{knees} knees of {'x'.join(map(str, shape))}, ResNet3D-18 (width 32), batch 4"
    results = []
    for name, action, goal in (
        ("forward + Grad-CAM + overlap (oahier)", ours, 1.05),
        ("forward + Grad-CAM (grad-cam package)", grad_cam_package, None),
        ("forward + Grad-CAM (captum)", captum, None),
    ):
        count = rounds if goal else min(rounds, 3)
        ratios, times = alternate(lambda action=action: seconds(action), lambda: seconds(forward), count)
        results.append(Comparison(name, "forward pass", ratios, goal, note=note, seconds=times))
    return results
