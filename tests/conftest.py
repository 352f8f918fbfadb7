"""What every test shares: shape checks on, one thread pool size, and the optional real data."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

if "PYTEST_XDIST_WORKER" in os.environ:  # the processes share the cores; before torch counts them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("TQDM_DISABLE", "1")

sys.path.insert(0, str(Path(__file__).parent))  # for `miniature`, data sets made small

from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

# beartype picks the list items that it checks by Python's global random state, which tests compare
with patch("random.getrandbits", random.Random(0).getrandbits):
    import beartype  # noqa: F401

if not jaxtyping_config.jaxtyping_disable:  # by the environment variable JAXTYPING_DISABLE
    install_import_hook("oahier", "beartype.beartype")

SHARED_DATA = Path(os.environ.get("OAHIER_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: a long one that is begun last would keep one process alone at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real volumes, which are not part of the repository."""
    if not (SHARED_DATA / "README.md").is_file():
        pytest.skip(f"real volumes are not at {SHARED_DATA}; set OAHIER_SHARED_DATA to their folder")
    return SHARED_DATA


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of torch, for volumes too small to share, and a seed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def shapes_unchecked():
    """As users run it: without shape checks on, the functions must speak for themselves."""
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shared_paper() -> Path:
    """Folder of the paper's public evaluation files, which are not part of the repository."""
    folder = SHARED_DATA.parent / "paper"
    if not (folder / "paired-statistics.csv").is_file():
        pytest.skip(f"the paper's evaluation files are not at {folder}; set OAHIER_SHARED_DATA beside them")
    return folder
