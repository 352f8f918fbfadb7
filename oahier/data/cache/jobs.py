"""Making cache entries, one after the other or in several processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oahier.data.cache.entry import DamagedEntry, verify_entry, write_entry
from oahier.data.cache.fingerprints import file_signature
from oahier.data.preprocessing import Preprocessing, preprocess
from oahier.images.knee import Finding, read_knee
from oahier.processes import process_map
from oahier.progress import progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One entry to be made, and from what."""

    position: int
    entry: Path
    mri: Path
    cartilage: Path | None
    preprocessing: Preprocessing
    mirror: bool
    signatures: Mapping[str, str]
    """Size and time stamp of the files when they were hashed, by column."""

    def run(self) -> list[Finding] | OSError:
        """Read, preprocess and write; an error of the disk is returned, since it ends everything."""
        try:
            images, findings = read_knee(self.mri, self.cartilage)
            changed = [Finding(*change) for change in self._changed()]
            if images is None or changed:
                return findings + changed
            knee = preprocess(images, self.preprocessing, mirror=self.mirror)
        except (ValueError, OSError) as error:
            return [Finding("mri", f"{self.mri}: {error}")]
        except MemoryError:
            return [Finding("mri", f"{self.mri}: not enough memory; use fewer processes")]
        try:
            write_entry(self.entry, knee)
        except OSError as error:
            return error
        return findings

    def _changed(self) -> Iterator[tuple[str, str]]:
        """Files that are not those that the entry is named by any more."""
        for column, path in (("mri", self.mri), ("cartilage", self.cartilage)):
            if path is not None and file_signature(path) != self.signatures[column]:
                yield column, f"{path} was changed while it was read; begin again"


def run_jobs(jobs: list[Job], num_workers: int) -> Iterator[tuple[Job, list[Finding]]]:
    """Run all jobs in order, with a bar on a terminal; what was wrong with each knee.

    Raises:
        OSError: the disk is full, or the cache cannot be written.
    """
    results = process_map(Job.run, jobs, num_workers, name=lambda job: job.mri)
    for job, findings in zip(jobs, progress(results, len(jobs), "Preprocessing knees"), strict=True):
        if isinstance(findings, OSError):
            raise findings
        yield job, findings


def is_whole(path: Path, *, verify: bool = False) -> bool:
    """True if there is a complete entry; a damaged one is logged."""
    try:
        verify_entry(path, every_byte=verify)
    except FileNotFoundError:
        return False
    except DamagedEntry as error:
        logger.warning("cache entry is rebuilt: %s", error)
        return False
    return True
