"""Saliency methods by name, for configurations and commands."""

from __future__ import annotations

from oahier.saliency.cam import CAM_METHODS
from oahier.saliency.controls import InputItself
from oahier.saliency.gradients import IntegratedGradients, SmoothGrad
from oahier.saliency.method import SaliencyMethod
from oahier.saliency.occlusion import Occlusion
from oahier.saliency.tail_methods import ActivationMap, AttentionRollout, FusedActivationMaps

METHODS: dict[str, SaliencyMethod] = {
    method.name: method
    for method in (
        *(ActivationMap(kind) for kind in CAM_METHODS),
        *(ActivationMap("hirescam", stage) for stage in (-2, -3)),
        FusedActivationMaps(),
        SmoothGrad(),
        SmoothGrad(times_input=False),
        IntegratedGradients(),
        IntegratedGradients(times_input=False),
        Occlusion(),
        AttentionRollout(),
        InputItself(),
    )
}
"""Every method by its name; add yours to name it in configurations."""


def as_method(method: SaliencyMethod | str) -> SaliencyMethod:
    """A method, or the one of that name.

    Raises:
        ValueError: no method has that name.

    >>> as_method("smoothgrad").passes
    '8 forward and backward'
    """
    if isinstance(method, SaliencyMethod):
        return method
    if method not in METHODS:
        raise ValueError(f"method: expected a SaliencyMethod or one of {', '.join(METHODS)}, got {method!r}")
    return METHODS[method]


TRUSTED = IntegratedGradients().name
"""Name of the method of tests and predictions, see :func:`default_methods`."""


def default_methods() -> tuple[SaliencyMethod, SaliencyMethod]:
    """The method of every training epoch, which must cost nothing, and the one that a test can trust.

    From docs/concepts/saliency-truth.md: of the methods that cost a few passes, integrated gradients from a
    baseline inside the anatomy were furthest above their floors where a model had learned its task, and the
    only ones whose peak lay in a planted mark in nine of ten knees; Grad-CAM on the last map was not above
    chance. It is there to watch a training, and is no evidence.
    """
    return ActivationMap(), IntegratedGradients()
