"""The second half of every import: all images are opened, then manifest and log are written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from oahier.data.manifest.columns import LONGEST_NAME, UNFIT, file_key
from oahier.intake.candidate import Candidate, ImportResult, LeftOut
from oahier.intake.destination import locked
from oahier.intake.journal import Journal, Record, fingerprint
from oahier.intake.knee_files import examine
from oahier.intake.manifest_files import Origin, shown_source, write_outputs
from oahier.intake.options import ImportKeywords, ImportOptions
from oahier.processes import process_map
from oahier.progress import announce
from oahier.progress import progress as show


def finish_import(
    destination: str | Path,
    candidates: Iterable[Candidate],
    left_out: Iterable[LeftOut] = (),
    *,
    importer: str,
    source: str | Path,
    options: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    **shared: Unpack[ImportKeywords],
) -> ImportResult:
    """Open every image of an import, write what has to be written, then the manifest and the log.

    A knee whose files are damaged or contradict each other is left out with its reason. What was found is
    kept in ``destination/.import``: an interrupted import goes on where it stopped, a finished one has
    nothing to do, and after a change of the source or the options only what changed is opened again. The
    source is only read. The manifest is written last.

    Args:
        destination: folder for ``manifest.csv``, ``left-out.csv``, ``import.json`` and ``data.yaml``; made
            if missing.
        candidates: knees that the source promises.
        left_out: entries of the source that the importer could not use.
        importer: its name, ``oaizib-cm`` for example.
        source: the folder, archive or table that was imported.
        options: of this importer alone, for the record.
        notes: decisions of the importer, for the record.
        shared: what every importer takes, see :class:`~oahier.intake.ImportOptions`; ``insist`` holds where
            the candidates do not say, and ``mirror_left`` and ``n4`` are handed on to training in
            ``data.yaml``.

    Returns:
        the manifest, and the entries that are not in it.

    Raises:
        ValueError: nothing could be imported, the knees contradict each other as a table, or the folder
            holds something else or files of the source that would be replaced.
        ImportInterrupted: a process was killed or ran out of memory.
        OSError: the destination cannot be written, is full, or is being written by another import.
    """
    folder, source, common = Path(destination), Path(source), ImportOptions(**shared)
    recorded = common.record() | dict(options or {})
    with locked(folder, importer), closing(Journal(folder)) as journal:
        asked = (replace(item, insist=item.insist or common.kinds) for item in candidates)
        knees, apart = _named_apart(asked, source)
        out = [*left_out, *apart]
        _keep_sources(folder, knees, common.convert)
        records = _records(journal, knees, common.convert, common.workers, common.progress)
        kept: list[tuple[Candidate, Record]] = []
        for candidate in knees:
            record = records[candidate.knee]
            reason = record.reason or _contradiction(candidate, record)
            if reason:
                out.append(_leave_out(candidate, source, reason))
            else:
                kept.append((candidate, record))
        out = sorted(set(out), key=lambda item: (item.knee, item.source, item.reason))
        origin = Origin(importer, source, common.licence, recorded, tuple(notes))
        result = write_outputs(folder, kept, out, origin)
        journal.remove_others(set(records))
        return result


def _records(
    journal: Journal, knees: list[Candidate], convert: bool, workers: int, progress: bool
) -> dict[str, Record]:
    """The records of all knees: those that still hold, and new ones of the others."""
    records: dict[str, Record] = {}
    waiting: list[tuple[Candidate, str]] = []
    for candidate in knees:
        try:
            print_ = fingerprint(candidate, convert)
        except OSError as error:
            missing = error.filename or candidate.mri
            records[candidate.knee] = Record(reason=f"{missing} cannot be read: {error.strerror or error}")
            continue
        known = journal.valid(candidate.knee, print_)
        if known is None:
            waiting.append((candidate, print_))
        else:
            records[candidate.knee] = known
    candidates = [candidate for candidate, _ in waiting]
    _announce(journal.destination, candidates, convert, progress)
    look = partial(examine, destination=journal.destination, convert=convert)
    found = process_map(look, candidates, workers, ahead=4, name=lambda candidate: candidate.knee)
    shown = show(found, len(knees), "opening images", show=progress, done=len(records))
    for (candidate, print_), record in zip(waiting, shown, strict=True):
        records[candidate.knee] = replace(record, fingerprint=print_)
        journal.remember(candidate.knee, records[candidate.knee])
    return records


def _keep_sources(folder: Path, knees: list[Candidate], convert: bool) -> None:
    """Refuse to write over a file of the source, where source and destination are one folder."""
    sources = {
        os.path.realpath(path)  # unlike Path.resolve, it bears a link to itself
        for item in knees
        for path in (item.mri, item.cartilage)
        if path is not None and not item.source
    }
    for item in knees:
        name = f"{item.knee}.nii.gz"
        targets = [folder / "images" / name] if convert or item.series is not None else []
        targets += [folder / "cartilage" / name] if item.cartilage and item.mask else []
        for target in targets:
            if os.path.realpath(target) in sources:
                raise ValueError(
                    f"{target} is a file of the source, and would be replaced; choose another folder"
                )


def _announce(folder: Path, waiting: list[Candidate], convert: bool, progress: bool) -> None:
    images = sum(convert or item.series is not None for item in waiting)
    masks = sum(item.cartilage is not None and item.mask is not None for item in waiting)
    if images or masks:
        announce(f"writing {images} images and {masks} label maps to {folder}", show=progress)


def _named_apart(candidates: Iterable[Candidate], source: Path) -> tuple[list[Candidate], list[LeftOut]]:
    """Candidates by name; those that cannot have the name they were given are left out."""
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(file_key(candidate.knee), []).append(candidate)
    knees, out = [], []
    for group in groups.values():
        reason = _same_name(group, source) if len(group) > 1 else ""
        for item in group:
            if bad := _bad_name(item.knee) or reason:
                out.append(_leave_out(item, source, bad))
            else:
                knees.append(item)
    return sorted(knees, key=lambda item: item.knee), out


def _same_name(group: Sequence[Candidate], source: Path) -> str:
    files = ", ".join(sorted(_shown(item, source) for item in group))
    names = sorted({item.knee for item in group})
    if len(names) == 1:
        return (
            f"{len(group)} images would be the knee {names[0]!r} ({files}); choose between them, "
            "or tell them apart by side and visit"
        )
    return (
        f"{len(group)} images would be the knees {', '.join(map(repr, names))} ({files}), which are one file "
        "where disks ignore case; give them names that differ in more"
    )


def _bad_name(name: str) -> str:
    if not name or not name.isprintable() or set(name) & UNFIT or name.startswith("."):
        return f"the name {name!r} cannot be a file name: use letters, digits, '-', '_' and '.'"
    if len(name.encode()) > LONGEST_NAME:
        return f"the name {name!r} is too long for a file name: use at most {LONGEST_NAME} characters"
    return ""


def _contradiction(candidate: Candidate, record: Record) -> str:
    if candidate.side and record.side and candidate.side != record.side:
        return (
            f"side: the table says {candidate.side}, the image's header says {record.side}; "
            "find out which is right"
        )
    return ""


def _leave_out(candidate: Candidate, source: Path, reason: str) -> LeftOut:
    root = source if source.is_dir() else source.parent
    for path in (f"{root}/", f"{root.absolute()}/"):
        reason = reason.replace(path, "") if len(path) > 2 else reason
    return LeftOut(_shown(candidate, source), candidate.knee, candidate.subject, reason)


def _shown(candidate: Candidate, source: Path) -> str:
    place, series = shown_source(candidate, source), candidate.series
    return place if series is None else f"{place}: {series.title}, from {series.files[0].name}"
