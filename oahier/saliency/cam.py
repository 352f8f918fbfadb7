"""Class activation maps from the tail of a network: feature map, pooling, head.

The score is differentiated with respect to one feature map, never with respect to the volume or a weight,
so the encoder is not run backwards, no hook is set, and no ``.grad`` is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from oahier.saliency.interpolation import resample

Score = Callable[[Tensor], Tensor]
"""Maps a feature map ``(batch, channels, *grid)`` to one number a knee, ``(batch,)``."""

CamMethod = Literal["gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "gradcam_elementwise"]
_PACKAGE_CLASSES: dict[CamMethod, str] = {
    "gradcam++": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "gradcam_elementwise": "GradCAMElementWise",
}
CAM_METHODS: tuple[CamMethod, ...] = ("gradcam", *_PACKAGE_CLASSES)


def fused_map(
    maps: Sequence[Float[Tensor, "batch ..."]],
) -> Float[Tensor, "batch ..."]:
    """Maps of several stages as one on the finest of their grids: the geometric mean of their shares.

    A coarse map says what matters, a fine one where its edges are; a voxel must be salient in all of them.

    >>> coarse, fine = torch.tensor([[[[0.0, 4.0]]]]), torch.tensor([[[[1.0, 0.0, 1.0, 1.0]]]])
    >>> [round(value, 2) for value in fused_map([fine, coarse]).flatten().tolist()]
    [0.0, 0.0, 0.35, 0.41]
    """
    shape = max((item.shape[1:] for item in maps), key=lambda grid: grid.numel())
    fine = [resample(item.float(), shape) for item in maps]
    logs = [(item / item.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)).log() for item in fine]
    return torch.stack(logs).mean(dim=0).exp()


def class_activation_map(
    feature_map: Float[Tensor, "batch channels ..."], score: Score, *, method: CamMethod = "gradcam"
) -> Float[Tensor, "batch ..."]:
    r"""Saliency on the grid of a feature map, not scaled: zero means no evidence for the score.

    Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) is
    :math:`\mathrm{ReLU}(\sum_c w_c A_c)` with :math:`w_c` the mean over the grid of
    :math:`\partial s / \partial A_c`; it is computed here in PyTorch. The relatives take their weightings
    from the grad-cam package: ``"gradcam++"`` (arXiv:1710.11063), ``"xgradcam"`` (arXiv:2008.02312),
    ``"hirescam"`` (arXiv:2011.08891), ``"layercam"`` (doi:10.1109/TIP.2021.3089943),
    ``"gradcam_elementwise"``. (Its Eigen-CAMs are left out: the sign of a singular vector is arbitrary.)

    May be called under ``no_grad`` and ``inference_mode``. What ``score`` runs must be in evaluation mode
    (dropout off) and must treat the knees of a batch independently.

    Args:
        feature_map: ``(batch, channels, *grid)``; not changed.
        score: see :data:`Score`; made by :func:`tail_score` for an encoder.
        method: how activations and gradients are combined.

    Returns:
        ``(batch, *grid)``, at least zero. All zero where no location speaks for the score, or where the
        gradient vanished because the score is saturated.

    Raises:
        ValueError: an unknown method, or a score that is not one number a knee.

    >>> maps = torch.tensor([[[[[1.0, 3.0]]]]])
    >>> class_activation_map(maps, lambda a: 2 * a.mean(dim=(1, 2, 3, 4)))
    tensor([[[[1., 3.]]]])
    """
    if method not in CAM_METHODS:
        raise ValueError(f"method: expected one of {CAM_METHODS}, got {method!r}")
    activations, gradients = tail_gradients(feature_map, score)
    if method == "gradcam":
        weights = gradients.flatten(2).mean(dim=2)
        with torch.autocast(feature_map.device.type, enabled=False):
            saliency = torch.einsum("bc,bcn->bn", weights, activations.flatten(2)).relu()
        return saliency.view_as(activations[:, 0])
    return _package_map(method, activations, gradients).relu()


def tail_gradients(
    feature_map: Float[Tensor, "batch channels ..."], score: Score
) -> tuple[Float[Tensor, "batch channels ..."], Float[Tensor, "batch channels ..."]]:
    """Activations and the gradient of a score with respect to them, outside any autocast.

    Raises:
        ValueError: the score is not one number a knee, or does not depend on the map.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(feature_map.device.type, enabled=False),
    ):
        activations = feature_map.detach().clone().requires_grad_()
        value = score(activations)
        if value.shape != activations.shape[:1]:
            raise ValueError(
                f"score: expected one number a knee, shape ({len(activations)},), got {tuple(value.shape)}"
            )
        if not value.requires_grad:
            raise ValueError(
                "score: it does not depend on the feature map; is something detached on the way?"
            )
        (gradients,) = torch.autograd.grad(value.sum(), activations)
    return activations.detach(), gradients


def tail_score(
    features: Sequence[Tensor],
    read: Callable[[Tensor], Tensor],
    *,
    stage: int = -1,
    resume: Callable[[Tensor, int], Sequence[Tensor]] | None = None,
    embed: Callable[[Sequence[Tensor]], Tensor],
) -> Score:
    """The score as a function of the map of one stage, the other maps before it held fixed.

    Args:
        features: an encoder's maps, finest first.
        read: embedding ``(batch, features)`` to score ``(batch,)``.
        stage: which map; -1 is the coarsest.
        resume: the maps from a (negative) stage on, recomputed from the map of that stage; needed when
            ``stage`` is not the last.
        embed: maps to embedding.

    Raises:
        ValueError: no such stage.
    """
    if not -len(features) <= stage < len(features):
        raise ValueError(
            f"stage: the encoder has {len(features)} feature maps, so -{len(features)} to "
            f"{len(features) - 1}, got {stage}"
        )
    from_end = stage - len(features) if stage >= 0 else stage
    earlier = features[: len(features) + from_end]

    def score(feature_map: Tensor) -> Tensor:
        later: Sequence[Tensor] = (feature_map,)
        if from_end != -1 and resume is not None:
            later = resume(feature_map.clone(), from_end)  # a stage may begin with an in-place operation
        try:
            return read(embed((*earlier, *later)))
        except RuntimeError as error:
            if "Inference tensors" not in str(error):
                raise
        return read(embed((*(item.clone() for item in earlier), *later)))

    return score


def _package_map(method: CamMethod, activations: Tensor, gradients: Tensor) -> Tensor:
    """The grad-cam package's combination, called on arrays: its models, hooks and rescaling stay out."""
    import pytorch_grad_cam

    family: Any = getattr(pytorch_grad_cam, _PACKAGE_CLASSES[method])
    instance = SimpleNamespace()
    if hasattr(family, "get_cam_weights"):
        instance.get_cam_weights = partial(family.get_cam_weights, instance)
    arrays = activations.cpu().numpy(), gradients.cpu().numpy()
    result = family.get_cam_image(instance, None, None, None, *arrays, False)
    return torch.as_tensor(result).to(activations)
