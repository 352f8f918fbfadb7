"""Files that an import writes: manifest, log, provenance and a fragment of configuration."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from oahier import __version__
from oahier.data.manifest.columns import COLUMNS, PROVENANCE
from oahier.data.manifest.manifest import Manifest, read_manifest
from oahier.files import csv_text, frame_csv, write_atomically
from oahier.hierarchy import COARSE, DEFAULT_HIERARCHY
from oahier.images import image_files
from oahier.intake.candidate import Candidate, ImportResult, LeftOut
from oahier.intake.journal import Record, size_of
from oahier.types import MISSING


@dataclass(frozen=True)
class Origin:
    """Importer, source, terms, options, and what had to be decided."""

    importer: str
    source: Path
    licence: str
    options: Mapping[str, Any]
    notes: tuple[str, ...]


def shown_source(candidate: Candidate, source: Path) -> str:
    """Path that an image came from, relative to the source if it lies there."""
    if candidate.source:
        return candidate.source
    root, path = (source if source.is_dir() else source.parent).absolute(), candidate.mri.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def manifest_table(
    folder: Path, kept: Sequence[tuple[Candidate, Record]], source: Path, licence: str
) -> pd.DataFrame:
    """The manifest as text, a row per knee.

    Raises:
        ValueError: a covariate has the name of another column.
    """
    names = list(dict.fromkeys(name for candidate, _ in kept for name in candidate.covariates))
    taken = [name for name in names if name.lower() in (*COLUMNS, *PROVENANCE)]
    if taken:
        raise ValueError(
            f"expected other names for covariates than those of the manifest, got {taken[0]!r}; rename it"
        )
    rows = []
    for candidate, record in kept:
        rows.append(
            {
                "knee": candidate.knee,
                "subject": candidate.subject,
                "side": candidate.side or record.side,
                "visit": candidate.visit,
                "mri": _path(folder, record, f"images/{candidate.knee}.nii.gz", candidate.mri),
                "cartilage": _path(folder, record, f"cartilage/{candidate.knee}.nii.gz", candidate.cartilage),
                "kl": "" if candidate.kl is None else str(candidate.kl),
                "oa": "" if candidate.oa is None else str(candidate.oa),
                "split": candidate.split,
                **{name: candidate.covariates.get(name, "") for name in names},
                "source": shown_source(candidate, source),
                "source_hash": record.source_hash,
                "licence": licence,
                "image_notes": "; ".join(record.notes),
            }
        )
    last = PROVENANCE if any(record.notes for _, record in kept) else PROVENANCE[:-1]
    return pd.DataFrame(rows, columns=[*COLUMNS, *names, *last], dtype=str)


def _path(folder: Path, record: Record, written: str, original: Path | None) -> str:
    """A file of the import if it wrote one, else the original."""
    if written in record.written:
        return written
    return "" if original is None else relative(original, folder)


def relative(path: Path, folder: Path) -> str:
    """A path as the manifest in ``folder`` writes it; links that ".." would go past are resolved."""
    path = path.resolve() if ".." in path.parts else path
    try:
        return Path(os.path.relpath(path.absolute(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return path.absolute().as_posix()


def write_outputs(
    folder: Path,
    kept: Sequence[tuple[Candidate, Record]],
    left_out: list[LeftOut],
    origin: Origin,
) -> ImportResult:
    """Write the log, the provenance and the configuration, and last the manifest.

    Raises:
        ValueError: no knee is left, or the knees contradict each other.
        OSError: the folder cannot be written.
    """
    rows = [(item.source, item.knee, item.subject, item.reason) for item in left_out]
    _write_changed(folder / "left-out.csv", csv_text(("source", "knee", "subject", "reason"), rows))
    if not kept:
        raise ValueError(_nothing(folder, origin.source, left_out))
    table = manifest_table(folder, kept, origin.source, origin.licence)
    checked = Manifest.from_table(table, folder, folder / "manifest.csv").table
    table = table.assign(**{COARSE: ["" if value < 0 else str(value) for value in checked[COARSE]]})
    report = {
        "importer": origin.importer,
        "oahier": __version__,
        "source": str(origin.source.absolute()),
        "licence": origin.licence,
        "options": {name: _plain(value) for name, value in origin.options.items()},
        "notes": [*origin.notes, *_same_images(kept), *_unmirrored(checked, origin), *_notes(kept)],
        "counts": counts(checked, left_out),
        "written": _written(folder, kept),
    }
    _write_changed(folder / "import.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    _write_changed(folder / "data.yaml", _fragment(folder, origin.options))
    _write_changed(folder / "manifest.csv", frame_csv(table))
    return ImportResult(read_manifest(folder / "manifest.csv"), left_out, folder, report)


def _notes(kept: Sequence[tuple[Candidate, Record]]) -> list[str]:
    return [f"{candidate.knee}: {note}" for candidate, record in kept for note in record.notes]


def _same_images(kept: Sequence[tuple[Candidate, Record]]) -> Iterator[str]:
    """Knees that were made from the same bytes."""
    knees: dict[str, list[str]] = {}
    for candidate, record in kept:
        knees.setdefault(record.source_hash, []).append(candidate.knee)
    for names in knees.values():
        if len(names) > 1:
            yield f"{' and '.join(names)} are the same image: is a file named twice, or copied?"


def _unmirrored(table: pd.DataFrame, origin: Origin) -> Iterator[str]:
    """Knees of unknown side, which a training that mirrors left knees refuses."""
    unknown = table.loc[table["side"] == "", "knee"].tolist()
    if unknown and origin.options.get("mirror_left"):
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        yield (
            f"the side of {unknown[0]}{more} is unknown: training with mirrored left knees will ask for it; "
            "fill in the column side of the manifest, or leave --mirror-left out"
        )


_EXTRACTED = ("images", "cartilage", "dicom")
"""Folders that archives are extracted to."""


def _written(folder: Path, kept: Sequence[tuple[Candidate, Record]]) -> dict[str, int]:
    """Number and bytes of the images in the destination: written, or extracted from archives."""
    sizes = {name: size for _, record in kept for name, size in record.written.items()}
    for candidate, _ in kept:
        for path in (candidate.mri, candidate.cartilage):
            if candidate.source and path is not None and path.is_relative_to(folder):
                name = path.relative_to(folder)
                if name.parts[0] in _EXTRACTED:
                    files = image_files(path)
                    sizes |= {file.relative_to(folder).as_posix(): size_of(file) for file in files}
    return {"files": len(sizes), "bytes": sum(sizes.values())}


def counts(table: pd.DataFrame, left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """Numbers of knees, subjects, and knees per label, side, visit and split; ``unknown`` where empty."""

    def labels(name: str) -> dict[str, int]:
        known = ("unknown" if value == MISSING else str(value) for value in table[name])
        return dict(sorted(Counter(known).items()))

    return {
        "knees": len(table),
        "subjects": int(table["subject"].nunique()),
        "cartilage": int((table["cartilage"] != "").sum()),
        **{level: labels(level) for level in DEFAULT_HIERARCHY.levels},
        **{
            name: dict(sorted(Counter(value or "unknown" for value in table[name]).items()))
            for name in ("side", "visit", "split")
        },
        "left_out": len(left_out),
    }


def _write_changed(path: Path, text: str) -> None:
    try:
        if path.read_bytes() == text.encode():
            return
    except OSError:
        pass
    write_atomically(path, text)


def _nothing(folder: Path, source: Path, left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return f"{source}: expected at least one knee, found none; is it the right folder?"
    first = left_out[0]
    return (
        f"{source}: none of {len(left_out)} could be imported; {folder / 'left-out.csv'} says why, "
        f"for the first, {first.source}: {first.reason}"
    )


def _fragment(folder: Path, options: Mapping[str, Any]) -> str:
    data = {
        "manifest": str((folder / "manifest.csv").absolute()),
        "mirror_left": bool(options.get("mirror_left", False)),
        "bias_correction": bool(options.get("n4", False)),
    }
    note = "# for `oahier fit --config data.yaml --config mine.yaml`\n"
    return note + yaml.safe_dump({"data": data}, sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
