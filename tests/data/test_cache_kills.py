"""Builders that are killed at any moment lose nothing and leave nothing half-made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from oahier.data import KneeCache, read_manifest
from oahier.data.cache.entry import read_entry, verify_entry
from oahier.data.preprocessing import Preprocessing

SMALL = Preprocessing((24, 32, 40), (1.0, 0.75, 0.5))
KILLS = 30

BUILDER = """
import json, os, random, signal, sys, time
from pathlib import Path
from oahier.data import KneeCache, read_manifest
from oahier.data.cache.entry import verify_entry
from oahier.data.preprocessing import Preprocessing

manifest, folder = read_manifest(sys.argv[1]), Path(sys.argv[2])
settings = Preprocessing((24, 32, 40), (1.0, 0.75, 0.5))
KneeCache(folder / "timing").build(manifest, settings)  # everything is imported now
begin = time.perf_counter()
KneeCache(folder / "timed").build(manifest, settings)
whole = time.perf_counter() - begin
generator, killed, made = random.Random(0), 0, []
finished = lambda: list((folder / "cache").glob("??/[!.]*.knee"))
while killed < int(sys.argv[3]):
    wanted = len(finished()) + generator.randrange(5)  # 0: it may not have begun to write
    child = os.fork()
    if child == 0:
        KneeCache(folder / "cache").build(manifest, settings)
        os._exit(0)
    gone = (0, 0)
    while len(finished()) < wanted and gone == (0, 0):
        time.sleep(whole / 500)
        gone = os.waitpid(child, os.WNOHANG)
    if gone == (0, 0):
        time.sleep(generator.uniform(0, whole / 12))
        os.kill(child, signal.SIGKILL)
        gone = os.waitpid(child, 0)
    killed += os.WIFSIGNALED(gone[1])  # a quick builder may have ended by itself
    entries = finished()
    for entry in entries:
        verify_entry(entry, every_byte=True)  # whatever has its name is whole
    made.append(len(entries))
    if len(entries) == len(manifest):  # begin anew
        for entry in entries:
            entry.unlink()
print(json.dumps({"killed": killed, "made": made}))
"""


def test_thirty_kills(some_knees: Callable[..., Path], tmp_path: Path) -> None:
    path = some_knees(24)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", BUILDER, str(path), str(tmp_path), str(KILLS)],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["killed"] == KILLS
    assert len(set(seen["made"])) > 3  # at different moments
    manifest = read_manifest(path)
    finished = KneeCache(tmp_path / "cache").build(manifest, SMALL)
    undisturbed = KneeCache(tmp_path / "alone").build(manifest, SMALL)
    for one, other in zip(finished, undisturbed, strict=True):
        verify_entry(one, every_byte=True)
        assert one.name == other.name
        np.testing.assert_array_equal(read_entry(one).mri, read_entry(other).mri)
        np.testing.assert_array_equal(read_entry(one).cartilage, read_entry(other).cartilage)


def test_leftovers_of_killed_builders_are_swept_after_a_day(
    some_knees: Callable[..., Path], tmp_path: Path
) -> None:
    manifest = read_manifest(some_knees(2))
    old, recent = tmp_path / "ab" / ".1.x.knee", tmp_path / "ab" / ".2.x.knee"
    old.parent.mkdir()
    for leftover in (old, recent):
        leftover.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    KneeCache(tmp_path).build(manifest, SMALL)
    assert not old.exists()
    assert recent.exists()
