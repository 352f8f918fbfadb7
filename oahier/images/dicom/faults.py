"""Reasons why slices do not make one volume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

import numpy as np

from oahier.images.dicom.headers import Slice
from oahier.images.dicom.series import along_normal, normal_of
from oahier.images.errors import FORCED, advice

_SHARED = {"patient": "patients", "study_uid": "studies", "laterality": "sides"}
"""What all slices have in common; how many there are is said, never which."""

_UNEVEN = 0.05
"""Largest difference between distances of slices, as a share of the usual one."""

_WORDS = {
    "copies": "positions more than once",
    "gaps": "mm apart",
    "modality": "expected modality MR",
    "numbers": "images in the acquisition",
}
"""Kinds of faults that a user may insist on reading in spite of, each with words of such a fault."""


def faults_of(
    slices: Sequence[Slice], whole: Sequence[Slice], insist: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """Everything that keeps slices from being one volume; and notes on what bends the standard.

    Args:
        slices: of the volume.
        whole: of everything with the same SeriesInstanceUID, whose numbers tell what is missing.
        insist: kinds of faults that become notes.
    """
    missing, doubt = _number_faults(whole)
    faults = [*_identity_faults(slices), *_agreement_faults(slices), *_position_faults(slices), *missing]
    notes = [*dict.fromkeys(note for slice_ in slices for note in slice_.notes), *doubt]
    kept = []
    for fault in faults:
        if kind_of(fault) in insist:
            notes.append(f"{FORCED} {fault}")
        else:
            kept.append(fault)
    return kept, notes


def kind_of(fault: str) -> str:
    """The kind of a fault that a user may insist on reading in spite of, ``""`` for any other."""
    return next((kind for kind, words in _WORDS.items() if words in fault), "")


def with_advice(faults: Sequence[str]) -> str:
    """Faults in one line, with the advice to insist, if that would help."""
    kinds = dict.fromkeys(map(kind_of, faults))
    return "; ".join(faults) + ("" if "" in kinds else advice(*kinds))


def _identity_faults(slices: Sequence[Slice]) -> list[str]:
    faults = []
    first = slices[0].identity
    if any(slice_.identity.modality != "MR" for slice_ in slices):
        others = sorted({slice_.identity.modality or "unknown" for slice_ in slices} - {"MR"})
        faults.append(f"expected modality MR, got {', '.join(others)}")
    if not first.uid:
        faults.append("no SeriesInstanceUID")
    for name, words in _SHARED.items():
        count = len({getattr(slice_.identity, name) for slice_ in slices})
        if count > 1:
            faults.append(f"slices of {count} different {words}: two series mixed?")
    faults += sorted({slice_.two_sides for slice_ in slices} - {""})
    samples = {slice_.sample for slice_ in slices}
    if samples != {(1, "MONOCHROME2")}:
        faults.append(f"expected one number per pixel (MONOCHROME2), got {sorted(samples)}")
    return faults


def _agreement_faults(slices: Sequence[Slice]) -> list[str]:
    faults = []
    checks: list[tuple[str, Callable[[Slice], tuple[float, ...] | None], float]] = [
        ("rows and columns", lambda one: one.shape, 0.0),
        ("orientation", lambda one: one.orientation, 1e-3),
        ("pixel spacing", lambda one: one.spacing, 1e-4),
    ]
    for name, get, tolerance in checks:
        values = [get(slice_) for slice_ in slices]
        missing = [slice_.path.name for slice_, value in zip(slices, values, strict=True) if value is None]
        if missing:
            faults.append(f"{len(missing)} of {len(slices)} slices without {name}, such as {missing[0]}")
            continue
        table = np.array(values, dtype=np.float64)
        if not np.isfinite(table).all() or np.abs(table - table[0]).max() > tolerance:
            some = Counter(tuple(float(x) for x in row.round(3)) for row in table).most_common(3)
            shown = "; ".join(f"{count} slices of {list(value)}" for value, count in some)
            faults.append(f"slices differ in {name} ({shown})" + _localizer(name))
    return faults


def _localizer(name: str) -> str:
    return ": a localizer, or two series mixed?" if name == "orientation" else ": two series mixed?"


def _position_faults(slices: Sequence[Slice]) -> list[str]:
    normal = normal_of(slices[0])
    if len(slices) < 2:
        return ["a single slice, expected a volume"]
    if normal is None or any(slice_.position is None for slice_ in slices):
        return [] if normal is None else ["slices without ImagePositionPatient"]
    ordered = along_normal(slices)
    places = np.array([np.dot(normal, slice_.position) for slice_ in ordered])  # type: ignore[arg-type]
    if not np.isfinite(places).all():
        return ["positions of slices that are not finite"]
    gaps = np.diff(places)
    usual = float(np.median(gaps[gaps > 0.01])) if (gaps > 0.01).any() else 0.0
    doubled = [number for number, gap in enumerate(gaps) if gap <= max(0.01, 0.05 * usual)]
    if doubled:
        names = ", ".join(f"{ordered[n].path.name} and {ordered[n + 1].path.name}" for n in doubled[:3])
        what = "several acquisitions, or copies of which one was changed?"
        return [f"{len(doubled)} positions more than once ({names}): {what}"]
    return _gap_faults(ordered, gaps, usual)


def _gap_faults(ordered: Sequence[Slice], gaps: np.ndarray, usual: float) -> list[str]:
    faults = []
    if gaps.max() - gaps.min() > _UNEVEN * usual:
        wide = int(gaps.argmax())
        missing = int((gaps / usual).round().sum()) - len(gaps)
        whole = all(abs(gap / usual - round(float(gap) / usual)) < _UNEVEN for gap in gaps)
        what = f"{missing} missing" if whole and missing else "uneven"
        faults.append(
            f"slices are {gaps.min():.3f} to {gaps.max():.3f} mm apart, expected an even distance ({what}, "
            f"the widest gap is behind {ordered[wide].path.name}); are files missing, or two series mixed?"
        )
    told, thickness = ordered[0].distance, ordered[0].thickness or 0.0
    if told is not None and told > 0.99 * thickness and told > 0.01 and not faults:
        times = usual / told
        if times > 1.5 and abs(times - round(times)) < 0.05 * times:
            faults.append(
                f"slices are {usual:.3f} mm apart, the header says {told:.3f} mm: only one in {round(times)} "
                "is there; are files missing?"
            )
    return faults


def _number_faults(whole: Sequence[Slice]) -> tuple[list[str], list[str]]:
    """A fault where numbers of the header contradict each other, and notes where they only raise a doubt.

    Slices missing at an end leave an even grid. But instance numbers may start anywhere, and the number of
    images in the acquisition may count all echoes, or time points, of which this series holds one.
    """
    numbers = sorted(
        {slice_.instance for slice_ in whole if slice_.instance is not None and slice_.frames == 1}
    )
    if len(numbers) < 2:
        return [], []
    step = Counter(np.diff(numbers).tolist()).most_common(1)[0][0]
    announced = {slice_.announced for slice_ in whole}
    count = announced.pop() if len(announced) == 1 else None
    if count is not None and count > len(whole) * step:
        held = f"{len(whole)} slices, the header says {count} images in the acquisition"
        if count % len(whole):
            return [f"{held}; are files missing at an end?"], []
        return [], [f"{held}: is it one of {count // len(whole)} echoes, or are files missing?"]
    if numbers[0] > step and count != len(whole):
        return [], [f"instance numbers start at {numbers[0]}; are files missing at the start?"]
    return [], []
