"""What charts, panels and the methods section are made of."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from oahier.latent import axis_measures, fit_severity_axis
from oahier.pages.text import number
from oahier.study.report.axes import axis_panels
from oahier.study.report.contents import Contents, read_contents
from oahier.study.report.figures import forest_figure
from oahier.study.report.forest import ForestPanel, forest_panels, shared_range
from oahier.study.report.methods import methods
from oahier.study.report.names import PALETTE, Style, styles
from oahier.study.report.panels import (
    SaliencyPanel,
    SaliencyRow,
    prediction_panels,
    saliency_panels,
    spread_panels,
)
from oahier.study.report.references import REFERENCES, numbered
from oahier.study.report.result_figures import saliency_figure


@pytest.fixture(scope="module")
def contents(study):
    return read_contents(study)


def test_confusion_and_reliability_pool_the_seeds(contents, study):
    panels = {panel.condition: panel for panel in prediction_panels(contents)}
    pooled = pd.concat(
        pd.read_csv(study / "cells" / f"resnet3d_dual_{seed}" / "predictions.csv") for seed in (0, 1)
    )
    panel = panels["ResNet3D, Dual"]
    assert panel.cells == 2
    predicted = pooled[[f"prob_kl_{grade}" for grade in range(5)]].to_numpy().argmax(axis=1)
    np.testing.assert_array_equal(
        panel.confusion["KL"], confusion_matrix(pooled["label_kl"], predicted, labels=range(5))
    )
    np.testing.assert_array_equal(
        panel.confusion["OA"], confusion_matrix(pooled["label_oa"], pooled["prob_oa"] >= 0.5)
    )
    share, mean = calibration_curve(pooled["label_oa"], pooled["prob_oa"], n_bins=10)
    np.testing.assert_allclose(panel.curves["OA"][:2], [mean, share])
    assert panel.curves["OA"][2].sum() == len(pooled)
    assert panels["M3T, Dual"].cells == 1
    assert panels["ResNet3D, Single-KL"].probes == {"OA"}


def test_axis_panels_are_fitted_on_training_knees(contents, study):
    panels = {panel.cell: panel for panel in axis_panels(contents)}
    assert len(panels) == 11
    assert "m3t_dual_1" not in panels
    cell = study / "cells" / "m3t_dual_0"
    arrays = [np.load(cell / part / "embeddings.npz")["embedding"] for part in ("train", ".")]
    tables = [pd.read_csv(cell / part / "predictions.csv") for part in ("train", ".")]
    (training, test), (known, grades) = (
        [torch.tensor(array) for array in arrays],
        [torch.tensor(table["label_kl"].to_numpy()) for table in tables],
    )
    fit = fit_severity_axis(training, known, kind="pca")
    panel = panels["m3t_dual_0"]
    np.testing.assert_allclose(panel.projection, fit.project(test))
    assert panel.grades.tolist() == grades.tolist()
    assert abs(np.corrcoef(panel.projection, panel.grades)[0, 1]) > 0.3
    assert math.isfinite(axis_measures(fit, test, grades)["spearman_kl"])
    assert panel.title == "M3T, Dual, seed 0"
    measures = pd.read_csv(study / "tables" / "axis.csv")
    row = measures[(measures["cell"] == "m3t_dual_0") & (measures["kind"] == "pca")].iloc[0]
    assert panel.summary.startswith(
        f"|ρ| with KL {row['spearman_kl']:.2f}, OA probe AUC {row['probe_auc']:.2f}"
    )


def test_stored_coordinates_are_used_where_there_are_some(contents, study, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    cell = copy / "cells" / "m3t_dual_0"
    rows = pd.DataFrame(
        {"knee": ["a", "b"], "subject": ["a", "b"], "kl": [0, None], "oa": [0, 1], "pca": [1.5, 2]}
    )
    rows.to_csv(cell / "axis.csv", index=False)
    other = copy / "cells" / "m3t_single-kl_0"
    shutil.rmtree(other / "train")
    pd.DataFrame(
        {
            "knee": ["a", "b", "c"],
            "projection": [1, 2, 3],
            "kl": [0, 1, 4],
            "split": ["train", "test", "test"],
        }
    ).to_csv(other / "severity_axis.csv", index=False)
    shutil.rmtree(copy / "cells" / "m3t_single-oa_0" / "train")
    panels = {panel.cell: panel for panel in axis_panels(read_contents(copy))}
    assert panels["m3t_dual_0"].projection.tolist() == [1.5, 2]
    assert panels["m3t_dual_0"].grades.tolist() == [0, -1]
    assert panels["m3t_single-kl_0"].knees == ("b", "c")
    assert "m3t_single-oa_0" not in panels


def test_forest_colours_say_who_has_the_better_value(contents):
    for panel in forest_panels(contents, "comparisons"):
        for row in panel.rows:
            sign = -1 if row.label.endswith("↓") else 1
            assert row.favoured == row.models[sign * row["difference"] > 0]
            probes = {("single-oa", "KL"), ("single-kl", "OA")}
            assert row.probes == tuple((model, row.section) in probes for model in row.models)
    first = forest_panels(contents, "comparisons")[0]
    assert (first.group, first.title) == ("ResNet3D", "OA: Single-KL† − Single-OA")


def test_errors_in_grades_have_an_axis_of_their_own(contents):
    """A difference of grades would make those of shares too small to be seen."""
    panels = forest_panels(contents, "comparisons")
    labels = {(panel.section, row.label) for panel in panels for row in panel.rows}
    assert ("KL, in grades", "MAE ↓") in labels
    assert {label for section, label in labels if section == "KL"} >= {"QWK", "accuracy"}
    assert not {label for section, label in labels if section == "KL"} & {"MAE ↓"}
    drawn = forest_figure([one for one in panels if one.group == "ResNet3D"], contents.styles, "is better")
    units = {panel.section: panel.axes.get_xlabel() for panel in drawn.panels}
    assert units["KL, in grades"] == "grades"
    assert units["KL"] == ""


def test_saliency_is_compared_only_where_both_explain_the_head(contents):
    panels = forest_panels(contents, "saliency_comparisons")
    assert {panel.rows[0].models for panel in panels} == {
        ("single-oa", "dual"),
        ("single-kl", "dual"),
    }
    titles = [panel.title for panel in saliency_panels(contents)]
    assert titles[:2] == ["Grad-CAM of the OA head", "SmoothGrad × input of the OA head"]


def test_saliency_stands_beside_every_floor(contents):
    panels = saliency_panels(contents)
    drawn = saliency_figure(panels).panels[0]
    line = panels[0].rows[0]
    assert line.image == pytest.approx(0.8 * line.value)
    for floor in ("other knees", "random weights", "the image itself"):
        assert f"{floor} {number(getattr(line, _FLOORS[floor]))}" in drawn.alt
    old = Contents(contents.study, {"saliency": contents.tables["saliency"].drop(columns="image")})
    assert math.isnan(saliency_panels(old)[0].rows[0].image)  # tables of before


def test_one_wide_interval_does_not_squeeze_the_others():
    style = Style("#000000", "o")
    narrow = SaliencyRow("dual", style, 2.1, 1.6, 2.7, 1.0, 1.3, 1.0, math.nan)
    wide = replace(narrow, condition="single", low=0.2, high=11.0)
    for rows, reach, cut in (([narrow], 1.05 * 2.7, False), ([wide, narrow], 1.05 * 2.7, True)):
        made = saliency_figure([SaliencyPanel("Grad-CAM", rows)])
        assert made.panels[0].axes.get_xlim() == pytest.approx((0, reach))
        marks = [line for line in made.panels[0].axes.lines if line.get_marker() == ">"]
        assert len(marks) == cut
        (legend,) = made.figure.legends
        assert ("interval goes on" in [text.get_text() for text in legend.get_texts()]) == cut
    undefined = replace(narrow, value=math.nan, low=math.nan, high=math.nan, other=math.nan)
    axes = saliency_figure([SaliencyPanel("Grad-CAM", [undefined])]).panels[0].axes
    assert axes.get_xlim() == pytest.approx((0, 1.05))


_FLOORS = {"other knees": "other", "random weights": "randomised", "the image itself": "image"}


def test_spread_shows_every_seed(contents, study):
    cells = pd.read_csv(study / "tables" / "cells.csv", dtype={"seed": str})
    panel = next(panel for panel in spread_panels(contents) if (panel.task, panel.metric) == ("KL", "qwk"))
    values = cells[
        (cells["task"] == "KL") & (cells["metric"] == "qwk") & (cells["cell"].str.startswith("m3t_dual"))
    ]
    assert panel.rows[-1].values == values["value"].tolist()
    assert [len(row.values) for row in panel.rows] == [2, 2, 2, 2, 2, 1]


def test_supervisions_keep_their_colours():
    assert styles(["dual"])["dual"] == styles(["single-oa", "single-kl", "dual"])["dual"]
    made = styles(["mine", "dual", "single-oa", "other"])
    assert len({style.colour for style in made.values()}) == 4
    assert len(styles([f"level{number}" for number in range(12)])) == 12
    assert all(style.colour in PALETTE for style in styles(list("abcdefghijkl")).values())


def test_methods_tell_the_configuration(contents):
    paragraphs, works = numbered(methods(contents))
    text = " ".join(paragraphs)
    for part in (
        "by backbone (ResNet3D and M3T) and supervision (Single-OA, Single-KL and Dual)",
        "2 random seeds (0 and 1)",
        "1 training of 12 did not finish and is not part of the results",
        "40 training knees, 1 validation knee and 24 test knees",
        "from 12 subjects",
        "8/8/8/8/8 in the training split and 5/5/5/5/4 in the test split",
        "Volumes were reoriented to RAS, resampled to",
        "cropped or padded to 20 × 30 × 24 voxels and z-scored.",
        "voxels of 2 × 1.5 × 1.5 mm",
        "33.16 million (ResNet3D) and 12.03 million (M3T) parameters",
        "Single-OA: the encoder is supervised by OA, and the KL grade is read out by a probe",
        "(learning rate 0.0001, weight decay 0.0001) with batches of 4 for 10 epochs",
        "the largest QWK of the KL grade on the validation knees",
        "95 % t intervals with variances from the jackknife over subjects",
        "seeds were treated as readers",
        "Margins: margin 0.05 for QWK.",
        "corrected for 84 comparisons by the method of Benjamini and Hochberg",
        "the jackknife test and the exact McNemar test",
    ):
        assert part in text, part
    assert "[@" not in text
    assert "TorchIO" not in " ".join(work.text for work in works)
    assert all(f"[{place}" in text or f", {place}]" in text for place in range(1, len(works) + 1))
    assert all(work.link.startswith("https://") for work in REFERENCES.values())


def test_methods_of_the_published_recipe(small):
    folder = small()
    content = json.loads((folder / "study.json").read_text()) | {"preset": "paper"}
    (folder / "study.json").write_text(json.dumps(content))
    for path in folder.glob("cells/*/cell.json"):
        cell = json.loads(path.read_text())
        cell["settings"]["monitor"] = None
        path.write_text(json.dumps(cell))
    text = " ".join(methods(read_contents(folder)))
    assert "The recipe is that of the published study [@study]." in text
    assert "The weights of the last epoch were tested; no model was selected on validation." in text
    assert "The decided grade was the most probable grade (accuracy)." in text
    assert "Each was trained once, so variation between trainings was not measured." in text
    assert "SmoothGrad" not in text
    assert "Grad-CAM [@gradcam]" in text


def test_methods_cite_torchio_for_what_it_does_only(small):
    folder = small()
    for path in folder.glob("cells/*/config.yaml"):
        text = path.read_text()
        path.write_text(
            text.replace("augmentation: mild", "augmentation: {class_path: oahier.TorchIOAugmentation}")
        )
    text = " ".join(methods(read_contents(folder)))
    assert "Training volumes were augmented (TorchIOAugmentation [@torchio])." in text
    assert text.count("torchio") == 1


def test_methods_of_a_study_in_which_shapes_differ(small):
    folder = small(backbones=("resnet3d", "m3t"))
    for path in folder.glob("cells/m3t_*/config.yaml"):
        path.write_text(path.read_text().replace("batch_size: 4", "batch_size: 8"))
    assert "batches of 4 (ResNet3D) and 8 (M3T)" in " ".join(methods(read_contents(folder)))


def test_cut_intervals_do_not_widen_a_forest_plot(contents):
    """An interval that holds all possible differences is drawn as arrows at the edge of what others need."""
    panel = forest_panels(contents, "comparisons")[0]
    plain = shared_range([panel])
    first, *others = panel.rows
    wide = replace(first, line={**first.line, "ci_low": -1.0, "ci_high": 1.0, "largest": 1.0})
    cut = ForestPanel([wide, *others])
    assert (first.cut, wide.cut) == ((False, False), (True, True))
    assert shared_range([cut]) <= plain
    assert shared_range([ForestPanel([wide])]) == pytest.approx(1.06)
    axes = forest_figure([cut], contents.styles, "has the better value").panels[0].axes
    assert axes.get_xlim()[1] <= plain
    arrows = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in ("<", ">")]
    assert arrows == pytest.approx([-0.98 * axes.get_xlim()[1], 0.98 * axes.get_xlim()[1]])
