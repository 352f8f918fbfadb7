import numpy as np
import pytest
from scipy import stats

from oahier.phantom import Anatomy, Disease, Scan, phantom_knee
from oahier.phantom import knee as knee_module
from oahier.phantom.cohort import plan_subject

FINE = {"shape": (48, 72, 72), "scan": Scan(bias=0.0, noise=0.0)}
STEPS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.fixture(scope="module")
def knees():
    """The same knee, ever more ill."""
    return [phantom_knee(severity, **FINE) for severity in STEPS]


def millilitres(knee, *labels):
    return np.isin(knee.label_map, labels).sum() * np.diag(knee.affine)[:3].prod() / 1000


def medial_columns(knee):
    """Labels from below to above through the medial contact area (left of a right knee's middle)."""
    to_index = np.linalg.inv(knee.affine)
    i, j = (to_index @ [-22.5, -10.0, 0.0, 1.0])[:2].round().astype(int)
    return knee.label_map[i - 1 : i + 2, j - 2 : j + 3].reshape(-1, knee.label_map.shape[2])


def is_rising(values, strictly=True):
    steps = np.diff(values)
    return bool((steps > 0).all() if strictly else (steps >= 0).all())


def test_healthy_knee_has_the_volumes_of_real_ones(knees):
    healthy = knees[0]
    assert set(np.unique(healthy.label_map)) == {0, 1, 2, 3, 4, 5}
    assert healthy.mri.dtype == np.float32
    assert healthy.label_map.dtype == np.uint8
    # a mean knee without OA has 12.7, 1.8 and 1.9 ml of cartilage; bones depend on the field of view
    assert 9 < millilitres(healthy, 2) < 15
    assert 1.2 < millilitres(healthy, 4) < 2.4
    assert 1.2 < millilitres(healthy, 5) < 2.4
    assert 120 < millilitres(healthy, 1) < 220
    assert 70 < millilitres(healthy, 3) < 130


def test_healthy_cartilage_is_two_millimetres_thick():
    knee = phantom_knee(0.0, shape=(24, 48, 256), scan=FINE["scan"])
    columns = medial_columns(knee)
    step = knee.affine[2, 2]
    for label in (2, 4):
        assert (columns == label).sum(axis=1).mean() * step == pytest.approx(2.1, abs=0.35)


def test_medial_is_towards_the_body_and_femur_is_above():
    for side, sign in (("right", -1), ("left", 1)):
        knee = phantom_knee(0.0, shape=(24, 36, 36), side=side)
        centre = {
            label: (knee.affine @ [*np.argwhere(knee.label_map == label).mean(axis=0), 1])[:3]
            for label in (1, 3, 4, 5)
        }
        assert sign * centre[4][0] > 10 > -10 > sign * centre[5][0]
        assert centre[1][2] > 15 > -15 > centre[3][2]


def test_severity_thins_cartilage_most_in_the_medial_compartment(knees):
    for labels in ((2,), (4,), (5,), (2, 4, 5)):
        assert is_rising([-millilitres(knee, *labels) for knee in knees])
    left = [millilitres(knees[-1], label) / millilitres(knees[0], label) for label in (4, 5)]
    assert left[0] < 0.3 < 0.6 < left[1] < 0.95


def test_severity_narrows_the_medial_joint_space():
    gaps = []
    for severity in STEPS:
        knee = phantom_knee(severity, shape=(24, 36, 256), scan=FINE["scan"])
        columns = medial_columns(knee)
        first_femur = (columns == 1).argmax(axis=1)
        last_tibia = columns.shape[1] - 1 - (columns == 3)[:, ::-1].argmax(axis=1)
        gaps.append(float((first_femur - last_tibia).mean() * knee.affine[2, 2]))
    assert is_rising([-gap for gap in gaps])
    assert gaps[0] > 4
    assert gaps[-1] < 2.5


def test_osteophytes_begin_at_grade_two():
    tibia = [millilitres(phantom_knee(s, **FINE), 3) for s in (0.0, 0.39, 0.4, 0.6, 0.8, 1.0)]
    assert tibia[0] == tibia[1]
    assert is_rising(tibia[1:])


def test_marrow_lesions_and_effusion_come_late(knees):
    healthy, late = knees[0], knees[-1]
    marrow = []
    for knee in knees:
        low, high = (
            (np.linalg.inv(knee.affine) @ [*corner, 1])[:3].round().astype(int)
            for corner in ((-30, -18, -24), (-14, -2, -14))
        )
        box = tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))
        assert (knee.label_map[box] == 3).all()
        marrow.append(knee.mri[box].mean())
    assert marrow[:3] == pytest.approx([marrow[0]] * 3, rel=0.05)
    assert is_rising(marrow[2:])
    assert marrow[-1] > 2 * marrow[0]
    fluid = [int((knee.mri > 0.9 * knee.mri.max()).sum()) for knee in (healthy, late)]
    assert fluid[1] > 2 * fluid[0]


@pytest.mark.parametrize("field", list(Disease.__dataclass_fields__))
def test_effects_of_disease_never_recede(field):
    values = [getattr(Disease.from_severity(s), field) for s in np.linspace(0, 1, 101)]
    assert is_rising(values, strictly=False)
    assert values[-1] > values[0]


def test_tissues_have_the_order_of_a_dess_image(knees):
    knee = knees[0]
    bone = np.median(knee.mri[np.isin(knee.label_map, (1, 3))])
    cartilage = np.median(knee.mri[np.isin(knee.label_map, (2, 4, 5))])
    assert knee.mri[0, -1, -1] < bone < 0.3 * cartilage


def test_left_knee_mirrors_right():
    anatomy = Anatomy.draw(np.random.default_rng(0), np.random.default_rng(1))
    scan = Scan.draw(np.random.default_rng(2))
    right, left = (
        phantom_knee(0.6, shape=(17, 24, 20), side=side, anatomy=anatomy, scan=scan)
        for side in ("right", "left")
    )
    assert np.array_equal(left.mri, right.mri[::-1])
    assert np.array_equal(left.label_map, right.label_map[::-1])
    assert np.array_equal(left.affine, right.affine)
    assert not np.array_equal(left.mri, right.mri)


def test_same_parameters_same_knee():
    scan = Scan.draw(np.random.default_rng(4))
    first, again = (phantom_knee(0.3, shape=(12, 16, 16), scan=scan) for _ in range(2))
    assert np.array_equal(first.mri, again.mri)
    other = phantom_knee(0.3, shape=(12, 16, 16), scan=Scan.draw(np.random.default_rng(5)))
    assert not np.array_equal(first.mri, other.mri)


def test_slabs_do_not_show(monkeypatch):
    scan = Scan.draw(np.random.default_rng(4))
    whole = phantom_knee(0.9, shape=(21, 24, 24), scan=scan)
    monkeypatch.setattr(knee_module, "SLAB_VOXELS", 1)
    slabs = phantom_knee(0.9, shape=(21, 24, 24), scan=scan)
    assert np.allclose(whole.mri, slabs.mri, rtol=1e-4, atol=1e-2)
    assert np.array_equal(whole.label_map, slabs.label_map)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((4, 4, 4), None), ((7, 33, 20), None), ((5, 64, 9), (12.0, 1.5, 9.0)), ((16, 16, 16), (1.0, 1.0, 1.0))],
)
def test_any_shape_and_spacing(shape, spacing):
    knee = phantom_knee(1.0, shape=shape, spacing=spacing, scan=Scan.draw(np.random.default_rng(0)))
    assert knee.mri.shape == knee.label_map.shape == shape
    assert np.isfinite(knee.mri).all()
    assert knee.mri.std() > 0
    if spacing:
        assert np.diag(knee.affine)[:3].tolist() == list(spacing)
    centre = knee.affine @ [*((np.array(shape) - 1) / 2), 1]
    assert np.allclose(centre[:3], 0)


def test_spacing_does_not_change_the_knee():
    coarse = phantom_knee(0.2, shape=(32, 32, 32), spacing=(3.5, 4.0, 4.0), scan=FINE["scan"])
    fine = phantom_knee(0.2, shape=(64, 64, 64), spacing=(1.75, 2.0, 2.0), scan=FINE["scan"])
    for label in (1, 3):
        assert millilitres(coarse, label) == pytest.approx(millilitres(fine, label), rel=0.02)
    assert coarse.mri.mean() == pytest.approx(fine.mri.mean(), rel=0.02)


def test_noise_is_rician():
    shape = (24, 32, 32)
    scan = Scan(bias=0.0, noise=0.05, gain=1000.0)
    noisy = phantom_knee(0.0, shape=shape, scan=scan).mri
    clean = phantom_knee(0.0, shape=shape, scan=Scan(bias=0.0, noise=0.0, gain=1000.0)).mri
    air, bright = noisy[clean == 0], (noisy - clean)[clean > 400]
    assert len(air) > 500
    # Rayleigh where there is no signal, nearly Gaussian where there is much
    assert air.mean() == pytest.approx(50 * np.sqrt(np.pi / 2), rel=0.03)
    assert air.std() == pytest.approx(50 * np.sqrt(2 - np.pi / 2), rel=0.06)
    assert bright.std() == pytest.approx(50, rel=0.06)


def test_no_trivial_statistic_gives_the_grade_away():
    severity, trivial = [], []
    for number in range(150):
        plan = plan_subject(number, seed=1, knees=1, visits=1, grade_weights=(1,) * 5)[0]
        knee = phantom_knee(
            plan.severity, shape=(16, 20, 20), side=plan.side, anatomy=plan.anatomy, scan=plan.scan
        )
        severity.append(plan.severity)
        mri = knee.mri
        trivial.append(
            [mri.mean(), mri.std(), mri.std() / mri.mean(), np.median(mri), np.percentile(mri, 90)]
        )
    for column in np.transpose(trivial):
        assert abs(stats.spearmanr(severity, column).statistic) < 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"severity": 1.2}, "severity: expected a number from 0"),
        ({"severity": float("nan")}, "severity: expected"),
        ({"shape": (3, 8, 8)}, "shape: expected three axes of 4 voxels or more"),
        ({"spacing": (1.0, 0.0, 1.0)}, "spacing: expected three positive"),
        ({"spacing": (1.0, float("inf"), 1.0)}, "spacing: expected three positive"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        phantom_knee(**{"severity": 0.5, **arguments})
