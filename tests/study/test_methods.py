"""Axes of named methods: they commute, they fit, and what does not is refused in one sentence."""

from __future__ import annotations

import itertools
import json

import pytest

from oahier.heads import Head
from oahier.losses import Criterion, LossWeighting, Reader, Term
from oahier.specs import build
from oahier.study import PlanError, read_plan
from oahier.study.configuration import instantiate, resolve
from oahier.study.methods import CRITERIA, HEADS, METHODS, NOISES, WEIGHTINGS
from oahier.study.runner import resolved_cells

KINDS = {"head": Head, "criterion": Criterion, "noise": Reader, "term": Term, "weighting": LossWeighting}


@pytest.mark.parametrize("axis", METHODS)
def test_every_name_is_a_component(axis):
    for spec in METHODS[axis].values():
        for item in spec if isinstance(spec, list) else [spec] if spec else []:
            assert isinstance(build(item, KINDS[axis]), KINDS[axis])


def test_axes_commute_and_nothing_is_lost(write_plan):
    axes = {
        "supervision": ["dual", "single-kl"],
        "head": ["softmax"],
        "criterion": ["cross-entropy", "focal"],
        "noise": ["none", "learned-block"],
        "term": ["none", "rank-n-contrast"],
        "weighting": ["fixed", "pcgrad"],
    }
    found = []
    for order in [*itertools.islice(itertools.permutations(axes), 0, 720, 119), tuple(axes)]:
        cells = read_plan(write_plan(grid={axis: axes[axis] for axis in order})).cells()
        made = {json.dumps(sorted(cell.factors.items())): cell.config for cell in cells}
        found.append(json.dumps(made, sort_keys=True))
    assert len(set(found)) == 1
    configs = json.loads(found[0])
    assert len({json.dumps(config, sort_keys=True) for config in configs.values()}) == 32
    for key, config in configs.items():
        factors, model = dict(json.loads(key)), config["model"]
        criterion = model["heads"]["kl"]["init_args"]["criterion"]
        if factors["noise"] == "learned-block":
            assert criterion["class_path"] == "oahier.losses.ReaderNoise"
            assert criterion["init_args"]["readers"] == NOISES["learned-block"]
            criterion = criterion["init_args"]["criterion"]
        assert criterion == CRITERIA[factors["criterion"]]
        assert model["heads"]["kl"]["class_path"] == HEADS["softmax"]["class_path"]
        assert ("terms" in model) == (factors["term"] != "none")
        assert model["loss_weights"] == WEIGHTINGS[factors["weighting"]]
        assert model["probes"] == ([] if factors["supervision"] == "dual" else ["oa"])


def test_cells_are_models(write_plan):
    grid = {
        "supervision": ["dual"],
        "criterion": ["focal"],
        "noise": ["two-readers"],
        "weighting": ["gradnorm"],
    }
    grid |= {"term": ["consistency"]}
    (cell,) = read_plan(write_plan(grid=grid)).cells()
    assert cell.config["data"]["targets"] == ["oa", "kl", "kl_2"]
    config = resolve(cell.config, "cell")
    model = instantiate({**config, "data": {**config["data"], "targets": ["oa", "kl"]}}).model
    noise = model.heads["kl"].criterion
    assert [type(reader).__name__ for reader in noise.readers] == ["LearnedReader", "LearnedReader"]
    assert noise.readers[0] is not noise.readers[1]
    assert type(noise.criterion).__name__ == "Focal"
    assert model.targets_of("kl") == ("kl", "kl_2")
    assert list(model.terms) == ["consistency"]
    assert type(model.weighting).__name__ == "GradNorm"


def test_a_criterion_or_head_of_the_base_is_kept_under_noise(write_plan, base):
    smooth = {"class_path": "oahier.losses.CrossEntropy", "init_args": {"label_smoothing": 0.1}}
    base["model"]["heads"] = {
        "oa": {"class_path": "oahier.BinaryHead"},
        "kl": {"class_path": "oahier.SoftmaxHead", "init_args": {"num_classes": 5, "criterion": smooth}},
    }
    matrix = [[0.6 if i == j else 0.1 for j in range(5)] for i in range(5)]
    known = {"class_path": "oahier.losses.KnownReader", "init_args": {"matrix": matrix}}
    grid = {"noise": {"mine": {"noise": known}}, "seed": [0]}
    ((_, config),) = resolved_cells(read_plan(write_plan(grid=grid)))
    arguments = config["model"]["heads"]["kl"]["init_args"]["criterion"]["init_args"]
    assert arguments["criterion"]["init_args"]["label_smoothing"] == 0.1
    assert arguments["readers"][0]["init_args"]["matrix"] == matrix


BINARY = {"class_path": "oahier.losses.BinaryCrossEntropy"}
BAD = [[0.9, 0.2, 0.0, 0.0, 0.0], *([0.2] * 5 for _ in range(4))]
BAD_READER = {"class_path": "oahier.losses.KnownReader", "init_args": {"matrix": BAD}}


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"criterion": ["focla"]}, "grid.criterion: expected one of .*got 'focla'.*'focal'"),
        ({"noise": ["block"]}, "grid.noise: expected one of none, learned"),
        ({"supervision": ["single-oa"], "term": ["rank-n-contrast"]},
         "term 'rank_n_contrast' lets 'kl' supervise the encoder, which 'single-oa' leaves to a probe"),
        ({"supervision": ["single-kl"], "term": ["consistency"]}, "lets 'oa' supervise the encoder"),
        ({"criterion": {"binary": {"model.heads.kl.init_args.criterion": BINARY}}, "noise": ["learned"]},
         "model.heads.kl: .*BinaryCrossEntropy reads logits, which a reader matrix cannot correct"),
        ({"noise": {"bad": {"noise": BAD_READER}}},
         "each summing to 1, got row sums"),
        ({"criterion": ["focal"], "k": {"x": {"model.heads.kl.init_args.criterion": BINARY}}},
         "axes 'criterion' .* and 'k' .* set .* to different values"),
        ({"weighting": {"mine": {"model.loss_weights": {"oa": 1.0, "kl": 0.5}}}, "term": ["axis-order"]},
         r"model.loss_weights names \['kl', 'oa'\], but \['axis_order', 'kl', 'oa'\] supervise"),
        ({"head": {"smooth": {"model.heads.kl.init_args.label_smoothing": 0.1}}, "noise": ["learned"]},
         "noise and label_smoothing of the head 'kl' do not go together"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(write_plan, grid, message):
    with pytest.raises(PlanError, match=message):
        resolved_cells(read_plan(write_plan(grid={"supervision": ["dual"], **grid})))
