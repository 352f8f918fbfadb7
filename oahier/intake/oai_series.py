"""Choice of one series for each knee and visit of the Osteoarthritis Initiative."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from oahier.file_facts import FileFacts
from oahier.intake.candidate import LeftOut
from oahier.intake.destination import FOLDER
from oahier.intake.oai_packed import packed_faults, series_faults
from oahier.intake.oai_sides import WantedSides
from oahier.intake.oai_tree import SeriesFolder, place_of

SERIES = "SAG_3D_DESS"
"""Description of the series that is imported, before its side."""


@dataclass(frozen=True)
class Wanted:
    """Visits, sides and description of the series to import."""

    visits: tuple[str, ...]
    sides: WantedSides
    series: re.Pattern[str]


@dataclass(frozen=True)
class OaiSeries:
    """A series of a known knee and visit."""

    item: SeriesFolder
    subject: str
    side: str
    visit: str
    date: str

    @property
    def knee(self) -> str:
        """Its name."""
        return f"{self.subject}-{self.side}-{self.visit}"


@dataclass
class SeriesFinder:
    """Chooses among the folders of a tree; what is not used gets a reason.

    Args:
        source: the tree.
        destination: folder of the import, which remembers what archives hold.
        wanted: which series.
        left_out: series that are not used.
    """

    source: Path
    destination: Path
    wanted: Wanted
    left_out: list[LeftOut] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._found: list[OaiSeries] = []
        self._others: Counter[str] = Counter()

    def look(self, folders: Sequence[SeriesFolder]) -> None:
        """Sort series into wanted ones and others.

        Raises:
            ValueError: none of them has the description that is looked for.
        """
        descriptions: Counter[str] = Counter()
        for item in folders:
            if item.fault:
                subject = place_of((self.source / item.path).absolute()).subject
                self._leave(item, "", subject, f"its header cannot be read: {item.fault}")
                continue
            descriptions[item.description] += 1
            if self.wanted.series.search(item.description):
                self._sort(item)
            else:
                self._others["other descriptions"] += 1
        if not any(self.wanted.series.search(name) for name in descriptions) and not self.left_out:
            shown = ", ".join(f"{name} ({count})" for name, count in descriptions.most_common(12))
            raise ValueError(
                f"{self.source}: expected series with {self.wanted.series.pattern!r} in their description, "
                f"found {shown or 'no DICOM image'}"
            )

    def _sort(self, item: SeriesFolder) -> None:
        place = place_of((self.source / item.path).absolute())
        subject = place.subject or item.patient
        visit = place.visit or (self.wanted.visits[0] if len(self.wanted.visits) == 1 else "")
        side = item.side or item.laterality
        knee = "-".join(part for part in (subject, side, visit) if part)
        if place.subject and item.patient and place.subject != item.patient:
            reason = f"subject: the folder says {place.subject}, the header's PatientID {item.patient}"
            self._leave(item, knee, subject, reason)
        elif item.side and item.laterality and item.side != item.laterality:
            reason = (
                f"side: the description {item.description} says {item.side}, the header {item.laterality}"
            )
            self._leave(item, knee, subject, reason)
        elif not re.fullmatch(r"\d{7}", subject):
            self._leave(item, knee, subject, f"expected a subject of seven digits, got {subject!r}")
        elif not side:
            self._leave(item, knee, subject, f"no side in the description {item.description!r} or the header")
        elif not visit:
            reason = "no folder tells the visit (such as 00m or 0.C.2); name it (--visits)"
            self._leave(item, knee, subject, reason)
        elif visit not in self.wanted.visits:
            self._others[f"visit {visit}"] += 1
        elif others := self.wanted.sides.passed_over(subject, side):
            self._others[others] += 1
        else:
            self._found.append(OaiSeries(item, subject, side, visit, place.date or item.date))

    def _leave(self, item: SeriesFolder, knee: str, subject: str, reason: str) -> None:
        self.left_out.append(LeftOut(item.path, knee, subject, reason))

    def chosen(self) -> list[OaiSeries]:
        """One series a knee and visit."""
        groups: dict[str, list[OaiSeries]] = {}
        for one in self._found:
            groups.setdefault(one.knee, []).append(one)
        return [self._best(group) for _, group in sorted(groups.items())]

    def _best(self, group: list[OaiSeries]) -> OaiSeries:
        if len(group) == 1:
            return group[0]
        faults = self._faults(group)
        best = max(
            group, key=lambda one: (not faults[one], one.date, one.item.unpacked_path, not one.item.packed)
        )
        for one in group:
            if one is best:
                continue
            reason = f"{best.item.path} is a later series of the same knee and visit and is used"
            if one.item.unpacked_path == best.item.path:
                reason = f"{best.item.path} is the same series, unpacked, and is used"
            if faults[one]:
                instead = f"; {best.item.path}, of the same knee and visit, is whole and is used"
                reason = faults[one] + ("" if faults[best] else instead)
            self._leave(one.item, one.knee, one.subject, reason)
        return best

    def _faults(self, group: Sequence[OaiSeries]) -> dict[OaiSeries, str]:
        """Errors that keep series from being one whole volume; archives unpacked beside are not opened."""
        faults = {one: series_faults(self.source / one.item.path) for one in group if not one.item.packed}
        whole = {one.item.path for one, fault in faults.items() if not fault}
        with closing(FileFacts(self.destination / FOLDER / "packed-faults.jsonl", {"format": 1})) as known:
            for one in group:
                if one.item.packed:
                    beside = one.item.unpacked_path in whole
                    faults[one] = "" if beside else packed_faults(self.source / one.item.path, known)
        return faults

    def notes(self) -> list[str]:
        """Numbers of series that were passed over."""
        return [f"{count} series of {name} were passed over" for name, count in sorted(self._others.items())]
