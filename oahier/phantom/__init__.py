"""Phantom knees: MRI volumes with label maps whose true severity is known."""

from __future__ import annotations

from oahier.phantom.anatomy import Anatomy, Scan
from oahier.phantom.disease import CAUSES, GRADE_THRESHOLDS, Disease, grade_from_severity
from oahier.phantom.generate import make_phantoms, write_phantoms
from oahier.phantom.knee import FIELD_OF_VIEW, PhantomKnee, phantom_knee, signal_region
from oahier.phantom.plan import PhantomPlan
from oahier.phantom.readers import BLOCK_NOISE, reader_matrix
from oahier.phantom.shortcuts import CoilGain, CornerMark, NarrowField, Shortcut

__all__ = [
    "BLOCK_NOISE",
    "CAUSES",
    "FIELD_OF_VIEW",
    "GRADE_THRESHOLDS",
    "Anatomy",
    "CoilGain",
    "CornerMark",
    "Disease",
    "NarrowField",
    "PhantomKnee",
    "PhantomPlan",
    "Scan",
    "Shortcut",
    "grade_from_severity",
    "make_phantoms",
    "phantom_knee",
    "reader_matrix",
    "signal_region",
    "write_phantoms",
]
