"""Grids whose axes meet in one place of the configuration: nothing that an axis sets is lost."""

from __future__ import annotations

import itertools
import json

import pytest
import yaml

from oahier.study import PlanError, configuration, prepare_study, read_plan
from oahier.study.configuration import instantiate, probes, resolve
from oahier.study.overrides import merged, overridden
from oahier.study.runner import resolved_cells

SMOOTH = {"class_path": "oahier.SoftmaxHead", "init_args": {"num_classes": 5, "label_smoothing": 0.1}}
SUPERVISING = {"single-oa": ["oa"], "single-kl": ["kl"], "dual": ["oa", "kl"], "dual-published": ["oa", "kl"]}


def smoothing(config):
    return config["model"]["heads"]["kl"]["init_args"]["label_smoothing"]


def test_supervision_holds_in_every_cell_of_a_crossed_grid(write_plan):
    grid = {
        "supervision": ["single-oa", "dual"],
        "klhead": {"softmax": {}, "smooth": {"model.heads.kl": SMOOTH}},
        "seed": [0],
    }
    cells = {cell.name: config for cell, config in resolved_cells(read_plan(write_plan(grid=grid)))}
    for name, config in cells.items():
        supervision, head, _ = name.split("_")
        assert [head for head in config["model"]["heads"] if head not in probes(config)] == SUPERVISING[
            supervision
        ]
        assert smoothing(config) == (0.1 if head == "smooth" else 0.0)
        model = instantiate(config).model
        assert [name for name in model.heads if name not in model.probes] == SUPERVISING[supervision]
    assert len({json.dumps(config) for config in cells.values()}) == 4


def test_the_order_of_the_axes_does_not_matter(write_plan):
    axes = {
        "supervision": list(SUPERVISING),
        "klhead": {"softmax": {}, "smooth": {"model.heads.kl": SMOOTH}},
        "rate": {"slow": {"model.optimizer.init_args.lr": 1e-5}, "fast": {}},
        "optimizer": {
            "sgd": {"model.optimizer": {"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9}}}
        },
    }
    found = []
    for order in itertools.permutations(axes):
        cells = read_plan(write_plan(grid={axis: axes[axis] for axis in order})).cells()
        made = {tuple(sorted(cell.factors.items())): cell.config for cell in cells}
        found.append(json.dumps(sorted(made.items()), sort_keys=True))
    assert len(set(found)) == 1
    config = dict(json.loads(found[0]) and made)[
        ("klhead", "smooth"), ("optimizer", "sgd"), ("rate", "slow"), ("supervision", "dual-published")
    ]
    assert config["model"]["optimizer"]["init_args"] == {"momentum": 0.9, "lr": 1e-5}
    assert config["model"]["heads"]["oa"]["init_args"]["reads"] == "kl"
    assert smoothing(config) == 0.1


def test_heads_of_the_base_are_kept_by_a_supervision(write_plan, base):
    base["model"]["heads"] = {"kl": SMOOTH, "oa": {"class_path": "oahier.BinaryHead"}}
    for cell, config in resolved_cells(read_plan(write_plan(grid={"supervision": list(SUPERVISING)}))):
        assert smoothing(config) == 0.1, cell.name
        assert list(config["model"]["heads"]) == ["oa", "kl"]
    for cell in read_plan(write_plan(preset="paper", grid={"supervision": ["single-kl"]})).cells():
        assert cell.config["model"]["heads"] == {"kl": SMOOTH}


def test_probes_of_the_base_outlive_another_head(write_plan, base):
    base["model"]["heads"] = {
        "oa": {"class_path": "oahier.BinaryHead"},
        "kl": {"class_path": "oahier.SoftmaxHead", "init_args": {"probe": True}},
    }
    grid = {"klhead": {"softmax": {}, "smooth": {"model.heads.kl": SMOOTH}}, "seed": [0]}
    for cell, config in resolved_cells(read_plan(write_plan(grid=grid))):
        assert probes(config) == ["kl"], cell.name


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            {
                "supervision": {
                    "mine": {"model.heads": {"kl": merged(SMOOTH, {"init_args": {"probe": True}})}}
                },
                "klhead": {"smooth": {"model.heads.kl": SMOOTH}},
            },
            r"'mine_smooth': axes 'supervision' \(model.heads\) and 'klhead' \(model.heads.kl\).*probes",
        ),
        (
            {"supervision": ["dual-published"], "oahead": {"own": {"model.heads.oa": {"class_path": "a.B"}}}},
            r"'dual-published_own': axes 'supervision' \(model.heads.oa\) and 'oahead'",
        ),
        (
            {"supervision": ["dual"], "readout": {"kl-probe": {"model.probes": ["kl"]}}},
            r"'dual_kl-probe': axes 'supervision' \(model.probes\) and 'readout'",
        ),
        (
            {
                "model.encoder.init_args.width": [8],
                "backbone": {"wide": {"model.encoder": {"class_path": "a.B", "init_args": {"width": 16}}}},
            },
            r"'8_wide': axes 'backbone' \(model.encoder\) and 'model.encoder.init_args.width'",
        ),
        (
            {"a": {"x": {"data.batch_size": 2}}, "b": {"y": {"data.batch_size": 4}}},
            "'x_y': axes 'a' .* and 'b'",
        ),
        (
            {"a": {"x": {"model.lr_scheduler": None}}, "b": {"y": {"model.lr_scheduler.init_args.T_max": 4}}},
            "'x_y': axes 'a' .* and 'b'",
        ),
    ],
)
def test_axes_that_contradict_each_other_are_refused(write_plan, grid, message):
    for order in (grid, dict(reversed(grid.items()))):
        plan = read_plan(write_plan(grid=order))
        name = "_".join(
            next(iter(levels)) if isinstance(levels, dict) else str(levels[0]) for levels in order.values()
        )
        with pytest.raises(PlanError, match=r"set .* to different values") as refused:
            plan.cells()
        assert f"cell {name!r}" in str(refused.value)
    with pytest.raises(PlanError, match=message):
        read_plan(write_plan(grid=grid)).cells()


def test_axes_that_set_the_same_are_no_contradiction():
    axes = {"a": {"model.heads": {"kl": 1}}, "b": {"model.heads.kl": 1, "model.heads.oa": 2}}
    assert overridden({}, axes, "cell") == {"model": {"heads": {"kl": 1, "oa": 2}}}


def test_a_level_that_is_not_the_supervision_of_its_name_is_refused(write_plan, tmp_path):
    heads = {"oa": {"class_path": "oahier.BinaryHead"}, "kl": SMOOTH}
    plan = read_plan(write_plan(grid={"supervision": {"single-oa": {"model.heads": heads}}, "seed": [0]}))
    with pytest.raises(PlanError, match=r"'single-oa_0' is named for 'single-oa'.*by oa;.*has kl, oa"):
        prepare_study(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    grid = {
        "supervision": ["dual"],
        "readout": {"x": {"model.heads.kl": merged(SMOOTH, {"init_args": {"probe": True}})}},
    }
    with pytest.raises(PlanError, match=r"'dual_x' is named for 'dual'"):
        resolved_cells(read_plan(write_plan(grid=grid)))


def test_named_supervisions_leave_no_other_head_out(write_plan, base):
    base["model"]["heads"] = {"jsn": {"class_path": "oahier.SoftmaxHead", "init_args": {"num_classes": 4}}}
    with pytest.raises(
        PlanError, match=r"model.heads has 'jsn', about which the named supervisions say nothing"
    ):
        read_plan(write_plan()).cells()


def test_two_cells_of_one_configuration_are_refused(write_plan, tmp_path):
    grid = {"rate": {"slow": {"model.optimizer.init_args.lr": 0.001}, "usual": {}}, "supervision": ["dual"]}
    with pytest.raises(PlanError, match=r"'slow_dual' and 'usual_dual' have one configuration"):
        prepare_study(read_plan(write_plan(grid=grid)), tmp_path / "out")


def test_a_head_that_reads_a_probe_is_one():
    heads = {"kl": SMOOTH, "oa": {"class_path": "oahier.SoftmaxHead", "init_args": {"reads": "kl"}}}
    assert probes({"model": {"heads": heads}}) == []
    assert probes({"model": {"heads": heads, "probes": ["kl"]}}) == ["kl", "oa"]


def test_folders_from_before_probes_were_a_list_go_on(write_plan, tmp_path):
    """Version 0.1 marked the head (``probe: true``) and knew fewer settings."""
    plan = read_plan(write_plan(grid={"supervision": ["single-oa", "dual"], "seed": [0]}))
    cells = prepare_study(plan, tmp_path / "out")
    for cell in cells:
        config = cell.config
        named = config["model"].pop("probes", [])
        for name, head in config["model"]["heads"].items():
            head["init_args"]["probe"] = name in named
            head["init_args"].pop("label_smoothing", None)
        (cell.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    again = prepare_study(plan, tmp_path / "out")
    assert [cell.probes for cell in again] == [["kl"], []]
    assert instantiate(again[0].config).model.probes == {"kl"}
    text = (cells[1].folder / "config.yaml").read_text()
    (cells[1].folder / "config.yaml").write_text(text.replace("probe: false", "probe: true"))
    with pytest.raises(PlanError, match=r"(?s)cell 'dual_0' was made from another configuration.*probes"):
        prepare_study(plan, tmp_path / "out")


def test_sections_that_cells_share_are_resolved_once_and_alike(write_plan, monkeypatch):
    grid = {"supervision": list(SUPERVISING), "klhead": {"softmax": {}, "smooth": {"model.heads.kl": SMOOTH}}}
    plan = read_plan(write_plan(grid=grid | {"seed": [0, 1, 2, 3, 4]}))
    alone = [resolve(cell.config, cell.name) for cell in plan.cells()]
    parsed: list[str] = []
    parse = configuration._parsed
    monkeypatch.setattr(
        configuration, "_parsed", lambda parser, config: [parsed.extend(config), parse(parser, config)][1]
    )
    together = [config for _, config in resolved_cells(plan)]
    assert json.dumps(together) == json.dumps(alone), "order of keys included"
    assert together[0]["model"] is not together[8]["model"]
    assert parsed.count("model") == 8 < len(alone) == 40
    assert parsed.count("trainer") == 1


def test_an_error_in_a_shared_section_names_each_cell(write_plan):
    (cell, *_) = read_plan(write_plan(grid={"supervision": ["dual"]})).cells()
    known: dict[str, str] = {}
    assert resolve(cell.config, "first", known) == resolve(cell.config, "second", known)
    wrong = merged(cell.config, {"model": {"heads": {"oa": {"class_path": "oahier.Binary"}}}})
    for name in ("third", "fourth"):
        with pytest.raises(PlanError, match=rf"(?s)^{name}: .*oahier\.Binary"):
            resolve(wrong, name, known)
