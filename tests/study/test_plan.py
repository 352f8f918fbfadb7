"""Study files: what they make, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from oahier.study import PlanError, prepare_study, read_plan


def test_every_combination_is_a_cell_with_its_own_configuration(write_plan):
    plan = read_plan(
        write_plan(
            grid={
                "backbone": {"small": {}, "wide": {"model.encoder.init_args.width": 16}},
                "supervision": ["single-oa", "dual"],
                "data.batch_size": [2, 4],
                "seed": [3, 5],
            },
            without=[{"backbone": "wide", "seed": 5}],
        )
    )
    cells = {cell.name: cell for cell in plan.cells()}
    assert len(cells) == 2 * 2 * 2 * 2 - 4
    cell = cells["wide_dual_2_3"]
    assert cell.factors == {"backbone": "wide", "supervision": "dual", "data.batch_size": "2", "seed": "3"}
    assert cell.config["model"]["encoder"]["init_args"] == {"depth": 10, "width": 16, "norm": "group"}
    assert cell.config["data"]["batch_size"] == 2
    assert cell.config["seed_everything"] == 3
    assert set(cell.config["model"]["heads"]) == {"oa", "kl"}
    assert cells["small_dual_2_3"].config["model"]["encoder"]["init_args"]["width"] == 8
    assert cells["small_single-oa_2_3"].config["model"]["probes"] == ["kl"]
    assert cell.config["model"]["probes"] == []


@pytest.mark.parametrize(
    ("axes", "compared"),
    [
        ({"data.batch_size": [2, 4], "supervision": ["single-oa", "dual"]}, "supervision"),
        ({"seed": [0, 1], "fold": [0, 1], "data.batch_size": [2, 4], "data.seed": [1, 2]}, "data.batch_size"),
        ({"supervision": ["dual"], "data.batch_size": [2, 4]}, "data.batch_size"),
        ({"supervision": ["dual"], "seed": [0, 1]}, "supervision"),
    ],
)
def test_levels_of_one_axis_are_compared(write_plan, axes, compared):
    assert read_plan(write_plan(grid=axes)).contrast == compared


def test_paper_preset_is_the_published_recipe_below_the_base(write_plan, base):
    del base["model"]["optimizer"], base["trainer"]["max_epochs"], base["data"]["batch_size"]
    plan = read_plan(write_plan(preset="paper", base=base))
    assert plan.monitor is None
    single, dual = plan.cells()
    assert single.config["trainer"]["max_epochs"] == 100
    assert single.config["data"] == {**base["data"], "batch_size": 2, "augmentation": None}
    assert single.config["model"]["optimizer"]["init_args"] == {"lr": 1e-4, "weight_decay": 1e-4}
    assert list(single.config["model"]["heads"]) == ["kl"]
    assert dual.config["model"]["heads"]["oa"]["init_args"]["reads"] == "kl"
    base["trainer"]["max_epochs"] = 7
    assert read_plan(write_plan(preset="paper", base=base)).cells()[0].config["trainer"]["max_epochs"] == 7


def test_paths_count_from_the_file_that_names_them(tmp_path: Path, write_plan, base, knees):
    (tmp_path / "configs").mkdir()
    base["data"]["manifest"] = "knees/k.csv"
    (tmp_path / "configs" / "base.yaml").write_text(yaml.safe_dump(base))
    plan = read_plan(write_plan(base="configs/base.yaml"))
    assert plan.base["data"]["manifest"] == str(tmp_path / "configs" / "knees" / "k.csv")


def test_manifests_may_follow_the_levels(write_plan, tmp_path, base):
    base["data"]["manifest"] = "reader-{seed}.csv"
    grid = {"data": {"mine": {}, "other": {"data.manifest": "other/{seed}.csv"}}, "seed": [0, 1]}
    cells = read_plan(write_plan(grid=grid)).cells()
    found = [Path(cell.config["data"]["manifest"]).relative_to(tmp_path).as_posix() for cell in cells]
    assert found == ["reader-0.csv", "reader-1.csv", "other/0.csv", "other/1.csv"]
    base["data"]["manifest"] = "reader-{site}.csv"
    with pytest.raises(PlanError, match=r"asks for an axis that the grid lacks.*seed"):
        read_plan(write_plan()).cells()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"gird": {}}, "unknown key 'gird'.*grid"),
        ({"grid": ...}, "expected an entry `grid`"),
        ({"base": ...}, "expected an entry `base`"),
        ({"base": 3}, "base: expected a configuration"),
        ({"base": "nowhere.yaml"}, "nowhere.yaml: no such file"),
        ({"grid": {}}, "grid: expected axes"),
        ({"grid": {"seed": []}}, r"grid.seed: expected at least one level, got \[\]"),
        ({"grid": {"seed": 3}}, "grid.seed: expected at least one level, got 3"),
        ({"grid": {"seed": [0, "0"]}}, "grid.seed: two levels are called '0'"),
        ({"grid": {"seed": [[1]]}}, "a level's name may have"),
        ({"grid": {"supervision": ["single-oo"]}}, "grid.supervision: expected one of .*'single-oo'"),
        ({"grid": {"backbone": {"a": "resnet3d"}}}, "grid.backbone.a: expected dotted names"),
        ({"preset": "papier"}, "preset: expected one of"),
        ({"without": {"seed": 0}}, "without: expected a list"),
        ({"without": [{"seed": 9}]}, "the grid has no seed '9'"),
        ({"without": [{"seed": 0}]}, "leaves no cell"),
        ({"mode": "best"}, "mode: expected 'min' or 'max'"),
        ({"saliency": "gradcam"}, "saliency: expected a list"),
        ({"saliency": ["gradcan"]}, "saliency: expected methods among .*gradcam.*'gradcan'"),
        ({"knees": -1}, "knees: expected a whole number"),
        ({"decoding": "qwk"}, "decoding: expected {class_path: .*got 'qwk'"),
        (
            {"decoding": {"class_path": "oahier.Sord"}},
            "decoding: .* expected a subclass of Decoding, got Sord",
        ),
        ({"name": "../x"}, "name: expected letters"),
    ],
)
def test_wrong_files_say_which_entry(write_plan, entries, message):
    with pytest.raises(PlanError, match=message):
        read_plan(write_plan(**entries)).cells()


def test_two_cells_of_one_name_are_refused(write_plan):
    plan = read_plan(write_plan())
    doubled = type(plan)("x", plan.base, {"one": {"a": {}, "a_b": {}}, "two": {"b_c": {}, "c": {}}})
    with pytest.raises(PlanError, match="two cells would be called 'a_b_c'"):
        doubled.cells()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"trainer.max_epoch": 3}, "cell 'x_0'.*max_epoch"),
        ({"model.encoder.init_args.depht": 3}, "cell 'x_0'.*depht"),
        ({"model.encoder.class_path": "oahier.ResNet4D"}, "cell 'x_0'.*ResNet4D"),
        ({"modle.encoder": 3}, "unknown section 'modle'"),
        ({"data.batch_size": "four"}, "cell 'x_0'.*batch_size"),
        ({"data.shape.first": 3}, "has no parts"),
    ],
)
def test_wrong_configurations_are_found_before_anything_is_written(write_plan, tmp_path, override, message):
    plan = read_plan(
        write_plan(
            grid={
                "variant": {"x": override},
                "seed": [0],
            },
        )
    )
    plan = type(plan)(
        **{
            **vars(plan),
            "base": {
                **plan.base,
                "model": {**plan.base["model"], "heads": {"kl": {"class_path": "oahier.SoftmaxHead"}}},
            },
        }
    )
    with pytest.raises(PlanError, match=message):
        prepare_study(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_not_yaml(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(PlanError, match=r"a.yaml: expected YAML"):
        read_plan(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("- 1")
    with pytest.raises(PlanError, match="expected a mapping"):
        read_plan(tmp_path / "a.yaml")
