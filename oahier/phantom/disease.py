"""Effects of a continuous severity on a knee."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from oahier.phantom.shapes import ramp

GRADE_THRESHOLDS = (0.2, 0.4, 0.6, 0.8)
"""Severity from which on a knee has KL grade 1, 2, 3, 4."""


CAUSES: dict[str, tuple[str, ...]] = {
    "cartilage": ("medial_loss", "lateral_loss", "focal_loss"),
    "joint_space": ("medial_narrowing", "lateral_narrowing", "extrusion"),
    "osteophytes": ("osteophyte",),
    "marrow_lesions": ("marrow_lesion", "sclerosis"),
    "effusion": ("effusion",),
}
"""Signs of disease that a phantom can have one by one, and the effects that make each of them.

Where only the cartilage goes, the joint space stays and fills with fluid; a joint space that narrows alone
presses whole cartilage together and the meniscus out.
"""


def grade_from_severity(severity: float) -> int:
    """True KL grade of a severity in [0, 1]: equal steps of 0.2.

    >>> [grade_from_severity(s) for s in (0.0, 0.2, 0.39, 0.4, 0.99, 1.0)]
    [0, 1, 1, 2, 4, 4]
    """
    return sum(severity >= threshold for threshold in GRADE_THRESHOLDS)


@dataclass(frozen=True)
class Disease:
    """Effects of a severity; all of them grow, or stay, as the severity grows."""

    medial_loss: float
    """Share of the medial cartilage thickness that is gone."""
    lateral_loss: float
    focal_loss: float
    """Additional share at the centre of the focal lesion of the medial weight-bearing region."""
    medial_narrowing: float
    """Share of the medial cartilage thickness by which the bones come closer."""
    lateral_narrowing: float
    osteophyte: float
    """Height of the osteophytes in mm."""
    marrow_lesion: float
    """Strength of bone-marrow lesions, 0 to 1."""
    effusion: float
    """Thickness of the fluid in the recesses, in mm on top of the resting fluid."""
    extrusion: float
    """Extrusion of the medial meniscus, in mm."""
    sclerosis: float
    """Additional thickness of the medial subchondral plate in mm."""

    @classmethod
    def from_severity(cls, severity: float, lateral_share: float = 0.3) -> Disease:
        """Effects at a severity in [0, 1].

        Osteophytes are definite (2 mm) from grade 2 (severity 0.4) on, as in the definition of Kellgren and
        Lawrence (1957, doi:10.1136/ard.16.4.494); marrow lesions begin at 0.55 and effusion at 0.5.

        >>> Disease.from_severity(0.3).osteophyte, Disease.from_severity(0.4).osteophyte
        (0.0, 2.0)
        """
        definite = severity >= GRADE_THRESHOLDS[1]
        medial, focal = 0.75 * severity, ramp(severity, 0.25, 0.85)
        return cls(
            medial_loss=medial,
            lateral_loss=0.75 * severity * lateral_share,
            focal_loss=focal,
            medial_narrowing=min(medial + 0.25 * focal, 1.0),
            lateral_narrowing=0.75 * severity * lateral_share,
            osteophyte=2.0 + 5.0 * ramp(severity, GRADE_THRESHOLDS[1], 1.0) if definite else 0.0,
            marrow_lesion=ramp(severity, 0.55, 0.95),
            effusion=5.0 * ramp(severity, 0.5, 1.0),
            extrusion=5.0 * ramp(severity, 0.3, 1.0),
            sclerosis=1.2 * ramp(severity, 0.4, 1.0),
        )

    def only(self, causes: Collection[str]) -> Disease:
        """The effects of some of :data:`CAUSES`.

        Raises:
            ValueError: an unknown cause.

        >>> disease = Disease.from_severity(1.0).only(["effusion"])
        >>> disease.effusion, disease.medial_loss, disease.osteophyte
        (5.0, 0.0, 0.0)
        """
        unknown = sorted(set(causes) - set(CAUSES))
        if unknown:
            raise ValueError(f"causes: expected some of {', '.join(CAUSES)}, got {', '.join(unknown)}")
        absent = [effect for cause in CAUSES if cause not in causes for effect in CAUSES[cause]]
        return replace(self, **dict.fromkeys(absent, 0.0))
