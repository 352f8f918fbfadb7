"""Saliency methods that need no pass through the whole encoder: activation maps, their fusion, attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from oahier.saliency.cam import CamMethod, class_activation_map, fused_map
from oahier.saliency.method import ExplainedKnees, SaliencyMethod


class ActivationMap(SaliencyMethod):
    """Grad-CAM or a relative on one feature map (:func:`~oahier.saliency.class_activation_map`).

    Args:
        method: how activations and gradients are combined.
        stage: feature map; -1 is the coarsest and costs next to nothing, an earlier one resolves more and
            runs what comes after it forwards and backwards.
    """

    def __init__(self, method: CamMethod = "gradcam", stage: int = -1) -> None:
        self.method, self.stage = method, stage
        self.name = method if stage == -1 else f"{method}_stage{stage}"
        self.passes = "none" if stage == -1 else f"the stages after {stage}, forward and backward"

    @override
    def __call__(self, knees: ExplainedKnees) -> Tensor:
        return class_activation_map(*knees.from_stage(self.stage), method=self.method)

    @override
    def at(self, stage: int) -> ActivationMap:
        return ActivationMap(self.method, stage)


class FusedActivationMaps(SaliencyMethod):
    """The activation maps of several stages as one (:func:`~oahier.saliency.cam.fused_map`).

    Args:
        stages: feature maps, those that the encoder does not have are left out.
        method: of each of them; HiRes-CAM keeps what single cells contribute.
    """

    def __init__(self, stages: Sequence[int] = (-1, -2, -3), method: CamMethod = "hirescam") -> None:
        self.stages, self.method = tuple(stages), method
        self.name = f"fused_{method}"
        self.passes = f"the stages after {min(stages)}, forward and backward"

    @override
    def __call__(self, knees: ExplainedKnees) -> Tensor:
        known = [stage for stage in self.stages if -len(knees.features) <= stage < len(knees.features)]
        return fused_map(
            [class_activation_map(*knees.from_stage(stage), method=self.method) for stage in known]
        )


class AttentionRollout(SaliencyMethod):
    r"""Attention from the cls token to the slices, followed through all layers (Abnar and Zuidema 2020).

    :math:`\prod_l (A_l + I) / 2` with :math:`A_l` the mean over heads (arXiv:2005.00928). For encoders with
    ``attentions(features)``, such as M3T, whose tokens are slices: a voxel has the product of what its three
    slices get. It does not depend on the score, so it explains the encoder, not the grade.

    Raises:
        TypeError: the encoder has no attention to follow.
    """

    name = "attention_rollout"
    needs_grid = False
    passes = "the transformer, forward"

    @override
    @torch.no_grad()
    def __call__(self, knees: ExplainedKnees) -> Tensor:
        if not hasattr(knees.encoder, "attentions"):
            raise TypeError(
                f"AttentionRollout: expected an encoder with attentions(features), such as M3T, got "
                f"{type(knees.encoder).__name__}; use another method"
            )
        layers, places = knees.encoder.attentions([item.to(knees.dtype) for item in knees.features])
        flow = torch.eye(layers[0].shape[-1], device=knees.mri.device, dtype=layers[0].dtype)
        for layer in layers:
            mean = layer.mean(dim=1)
            flow = (mean + torch.eye(mean.shape[-1], device=mean.device, dtype=mean.dtype)) / 2 @ flow
        rows = [flow[:, 0, place] for place in places]
        return torch.einsum("bi,bj,bk->bijk", *(row / row.mean(dim=1, keepdim=True) for row in rows))
