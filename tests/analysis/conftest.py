"""Shared by the tests of the analysis functions."""

import jaxtyping
import pytest


@pytest.fixture
def shapes_unchecked():
    """As users run it: without shape checks on, the functions must speak for themselves."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
