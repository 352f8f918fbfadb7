"""Distributions over ordered classes with one mode, from one or two numbers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from oahier.specs import Specified


class UnimodalDistribution(Specified, ABC):
    """A distribution over ordered classes that rises to one mode and falls from it."""

    num_parameters = 1
    """Logits that it is made of."""

    @abstractmethod
    def log_weights(self, logits: Tensor, num_classes: int) -> Tensor:
        """Logarithms ``(batch, num_classes)`` of weights, whose sum need not be one, from logits."""


class Binomial(UnimodalDistribution):
    r"""Binomial: :math:`P(k) = \binom{K-1}{k} \sigma(z)^k \sigma(-z)^{K-1-k}`."""

    def log_weights(self, logits: Tensor, num_classes: int) -> Tensor:
        k, trials = _classes(logits, num_classes), num_classes - 1
        ways = logits.new_tensor([math.log(math.comb(trials, one)) for one in range(num_classes)])
        return ways + k * F.logsigmoid(logits) + (trials - k) * F.logsigmoid(-logits)


class Poisson(UnimodalDistribution):
    r"""Poisson cut off after the last class: :math:`P(k) \propto \lambda^k / k!`, :math:`\lambda = e^z`."""

    def log_weights(self, logits: Tensor, num_classes: int) -> Tensor:
        factorials = logits.new_tensor([math.lgamma(k + 1) for k in range(num_classes)])
        return _classes(logits, num_classes) * logits - factorials


class Beta(UnimodalDistribution):
    r"""Beta density at the middle of each class: :math:`P(k) \propto x_k^{a-1} (1 - x_k)^{b-1}`.

    :math:`x_k = (k + 1/2) / K`, :math:`a - 1` and :math:`b - 1` are softplus of two logits: position and
    width are free, and the density is log-concave.
    """

    num_parameters = 2

    def log_weights(self, logits: Tensor, num_classes: int) -> Tensor:
        x = (_classes(logits, num_classes) + 0.5) / num_classes
        rise, fall = F.softplus(logits).unsqueeze(2).unbind(1)
        return rise * x.log() + fall * (-x).log1p()


def _classes(logits: Tensor, num_classes: int) -> Tensor:
    return torch.arange(num_classes, dtype=logits.dtype, device=logits.device)
