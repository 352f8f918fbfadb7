"""Phantom knees: MRI volumes with label maps whose true severity is known."""

from __future__ import annotations

from oahier.phantom.anatomy import Anatomy, Scan
from oahier.phantom.disease import GRADE_THRESHOLDS, Disease, grade_from_severity
from oahier.phantom.generate import PhantomPlan, make_phantoms, write_phantoms
from oahier.phantom.knee import FIELD_OF_VIEW, PhantomKnee, phantom_knee
from oahier.phantom.readers import BLOCK_NOISE, reader_matrix

__all__ = [
    "BLOCK_NOISE",
    "FIELD_OF_VIEW",
    "GRADE_THRESHOLDS",
    "Anatomy",
    "Disease",
    "PhantomKnee",
    "PhantomPlan",
    "Scan",
    "grade_from_severity",
    "make_phantoms",
    "phantom_knee",
    "reader_matrix",
    "write_phantoms",
]
