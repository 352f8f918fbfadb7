"""Readers and their noise, from tables alone: reader matrices, agreement, label doubt."""

from oahier.noise.dawid_skene import ReaderEstimate, dawid_skene
from oahier.noise.doubt import Doubt, label_doubt, nominal_doubt, out_of_fold_severity
from oahier.noise.matrices import ADJUDICATED_BLOCKS, checked_matrix

__all__ = [
    "ADJUDICATED_BLOCKS",
    "Doubt",
    "ReaderEstimate",
    "checked_matrix",
    "dawid_skene",
    "label_doubt",
    "nominal_doubt",
    "out_of_fold_severity",
]
