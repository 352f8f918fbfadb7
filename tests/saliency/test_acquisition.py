"""Changes of the acquisition: what they do to a scan, and what a score that depends on one does."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from oahier.phantom import CoilGain, CornerMark, NarrowField, PhantomPlan, phantom_knee
from oahier.saliency import CornerBlock, GainRamp, SmallerField, acquisition_changes, score_shifts

SHAPE = (16, 24, 24)


def standard(values: np.ndarray) -> torch.Tensor:
    """As preprocessing gives it."""
    return torch.from_numpy((values - values.mean()) / values.std())[None, None]


@pytest.mark.parametrize(
    ("change", "planted"),
    [
        (CornerBlock((True, False, False)), CornerMark()),
        (GainRamp(2, 0.5), CoilGain()),
        (SmallerField(), NarrowField()),
    ],
    ids=["mark", "gain", "field"],
)
def test_changes_make_what_phantoms_are_planted_with(change, planted):
    """The planted scan is nearer to the changed one than to the plain one, by far."""
    scan = PhantomPlan(knees=2, shape=SHAPE, seed=1).scans()[0]
    given = {"shape": SHAPE, "side": scan.side, "anatomy": scan.anatomy, "scan": scan.scan}
    plain, marked = (
        standard(phantom_knee(scan.severity, **given, shortcut=one).mri) for one in (None, planted)
    )
    changed = change(plain)
    torch.testing.assert_close(changed.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(changed.std(), torch.tensor(1.0), atol=1e-3, rtol=0)
    assert (changed - marked).norm() < 0.35 * (plain - marked).norm()


def test_every_change_is_of_its_place_alone():
    volume = torch.rand(2, 1, *SHAPE, generator=torch.Generator().manual_seed(0)) + 1
    volume[:, :, 0, 0, 0] = 0  # the background
    marks = [change for change in acquisition_changes() if isinstance(change, CornerBlock)]
    for change, (i, j, k) in zip(marks, itertools.product((0, -1), repeat=3), strict=True):
        made = change.of_scan(volume)
        assert bool((made[:, 0, i, j, k] == volume.amax(dim=(1, 2, 3, 4))).all())
        moved = (made != volume).float().mean()
        assert 0 < moved < 3 * 0.12**3
    rising, falling = GainRamp(1, 0.5).of_scan(volume), GainRamp(1, -0.5).of_scan(volume)
    torch.testing.assert_close(rising * falling, volume**2)
    torch.testing.assert_close(rising[:, :, :, -1], volume[:, :, :, -1] * np.exp(0.25), rtol=1e-5, atol=0)
    inside = SmallerField(0.1).of_scan(volume)
    assert bool((inside[:, :, :2] == 0).all())
    assert bool((inside[:, :, 2:-2, 2:-2, 2:-2] == volume[:, :, 2:-2, 2:-2, 2:-2]).all())
    assert len({change.name for change in acquisition_changes()}) == 15


def test_a_score_that_reads_one_corner_moves_with_that_mark_alone():
    volumes = torch.randn(3, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    marks = [change for change in acquisition_changes() if isinstance(change, CornerBlock)]
    found = score_shifts(lambda some: some[:, 0, -1, 0, 0], volumes, marks)
    far = {name for name, moved in found.items() if bool((moved.abs() > 1).all())}
    assert far == {"mark right posterior inferior"}
