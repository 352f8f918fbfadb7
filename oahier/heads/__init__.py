"""Heads: each reads the embedding at one granularity of the hierarchy."""

from oahier.heads.base import Head
from oahier.heads.binary import BinaryHead
from oahier.heads.softmax import SoftmaxHead

__all__ = ["BinaryHead", "Head", "SoftmaxHead"]
