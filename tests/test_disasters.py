"""Kills and full disks at random moments, in a process of their own; see ``tests/disasters.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nothing_is_lost_by_kills_and_full_disks() -> None:
    """``OAHIER_KILLS=200 OAHIER_DISKS=50`` makes it the long one."""
    script = Path(__file__).with_name("disasters.py")
    kills, disks = os.environ.get("OAHIER_KILLS", "24"), os.environ.get("OAHIER_DISKS", "6")
    command = [sys.executable, str(script), "--kills", kills, "--disks", disks]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-6000:]
    assert f"'kills': {kills}" in ended.stdout
    assert f"'full disks': {disks}" in ended.stdout
