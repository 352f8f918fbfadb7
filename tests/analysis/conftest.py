"""Shared by the tests of the analysis functions."""

import os
import sys
from pathlib import Path

import jaxtyping
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # made_predictions


@pytest.fixture
def shapes_unchecked():
    """As users run it: without shape checks on, the functions must speak for themselves."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shared_paper() -> Path:
    """Folder of the paper's public evaluation files, which are not part of the repository."""
    data = os.environ.get("OAHIER_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
    folder = Path(data).parent / "paper"
    if not (folder / "paired-statistics.csv").is_file():
        pytest.skip(f"the paper's evaluation files are not at {folder}; set OAHIER_SHARED_DATA beside them")
    return folder
