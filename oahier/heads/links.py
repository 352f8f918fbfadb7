"""Links between a score and the probability of a grade: distribution functions, exact in both tails."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from oahier.specs import Specified

_LARGEST = 60.0
"""Of a complementary log-log argument: from there on the probability is one in every precision."""


class Link(Specified, ABC):
    """A distribution function :math:`G`, given by logarithms that are exact in both tails."""

    @abstractmethod
    def log_below(self, x: Tensor) -> Tensor:
        """Logarithm of ``G(x)``."""

    @abstractmethod
    def log_above(self, x: Tensor) -> Tensor:
        """Logarithm of ``1 - G(x)``."""

    @abstractmethod
    def log_between(self, x: Tensor, gap: Tensor) -> Tensor:
        """Logarithm of ``G(x + gap) - G(x)`` for a positive ``gap``."""

    @abstractmethod
    def quantile(self, p: float) -> float:
        """The argument where :math:`G` is ``p``."""


class Logit(Link):
    r"""Logistic: :math:`G(x) = 1 / (1 + e^{-x})`; proportional odds.

    >>> Logit().log_below(torch.tensor([0.0])).exp().item()
    0.5
    """

    def log_below(self, x: Tensor) -> Tensor:
        return F.logsigmoid(x)

    def log_above(self, x: Tensor) -> Tensor:
        return F.logsigmoid(-x)

    def log_between(self, x: Tensor, gap: Tensor) -> Tensor:
        return F.logsigmoid(x + gap) + F.logsigmoid(-x) + log1mexp(gap)

    def quantile(self, p: float) -> float:
        return math.log(p / (1 - p))


class Probit(Link):
    r"""Normal: :math:`G(x) = \Phi(x)`.

    >>> round(Probit().log_below(torch.tensor([1.96])).exp().item(), 4)
    0.975
    """

    def log_below(self, x: Tensor) -> Tensor:
        return _log_ndtr(x)

    def log_above(self, x: Tensor) -> Tensor:
        return _log_ndtr(-x)

    def log_between(self, x: Tensor, gap: Tensor) -> Tensor:
        high = torch.where(2 * x + gap > 0, -x, x + gap)  # the nearer end, reflected to the lower tail
        below = _log_ndtr(high)
        return below + log1mexp(below - _log_ndtr(high - gap))

    def quantile(self, p: float) -> float:
        return math.sqrt(2) * float(torch.erfinv(torch.tensor(2 * p - 1, dtype=torch.float64)))


class ComplementaryLogLog(Link):
    r"""Smallest extreme value: :math:`G(x) = 1 - e^{-e^x}`; proportional hazards.

    >>> round(ComplementaryLogLog().log_below(torch.tensor([0.0])).exp().item(), 4)
    0.6321
    """

    def log_below(self, x: Tensor) -> Tensor:
        tail = x.clamp(max=-10.0)  # G(x) = e^x - e^2x / 2 + ...
        inner = x.clamp(-10.0, _LARGEST)
        return torch.where(x < -10.0, tail - tail.exp() / 2, log1mexp(inner.exp()))

    def log_above(self, x: Tensor) -> Tensor:
        return -x.clamp(max=_LARGEST).exp()

    def log_between(self, x: Tensor, gap: Tensor) -> Tensor:
        growth = gap + log1mexp(gap)  # log(e^gap - 1)
        return self.log_above(x) + self.log_below(x + growth)

    def quantile(self, p: float) -> float:
        return math.log(-math.log1p(-p))


def _log_ndtr(x: Tensor) -> Tensor:
    result: Tensor = torch.special.log_ndtr(x)
    return result


def log1mexp(x: Tensor) -> Tensor:
    r""":math:`\log(1 - e^{-x})` for positive ``x`` (Maechler 2012), kept finite at 0.

    >>> round(log1mexp(torch.tensor(1.0)).item(), 4)
    -0.4587
    """
    x = x.clamp(min=torch.finfo(x.dtype).tiny)
    small = (-torch.expm1(-x.clamp(max=1.0))).log()
    return torch.where(x < math.log(2), small, torch.log1p(-torch.exp(-x.clamp(min=0.5))))
