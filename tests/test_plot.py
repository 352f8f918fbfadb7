"""Figures for notebooks, and the notebooks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import pytest
import torch

from oahier import plot
from oahier.testing import tiny_batch, tiny_model

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples" / "notebooks").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def closed() -> Any:
    import matplotlib.pyplot as plt

    with mpl.rc_context({"backend": "agg", "figure.max_open_warning": 0}):
        plt.switch_backend("agg")
        yield
        plt.close("all")


def test_a_knee_in_three_planes_names_labels_only() -> None:
    batch = tiny_batch()
    axes = plot.knee(batch, row=1)
    assert len(axes) == 3
    assert [text.get_text().split()[0] for one in axes for text in one.texts if " " in text.get_text()] == [
        "sagittal", "coronal", "axial"
    ]  # fmt: skip
    title = axes[0].get_title(loc="left")
    assert f"KL {int(batch['targets']['kl'][1])}" in title
    assert batch["knee"][1] not in title
    assert all(one.images for one in axes)


def test_axes_of_the_users() -> None:
    import matplotlib.pyplot as plt

    _, mine = plt.subplots(1, 3)
    assert plot.knee(tiny_batch(), axes=list(mine)) == list(mine)
    with pytest.raises(ValueError, match="axes: expected 3, got 2"):
        plot.knee(tiny_batch(), axes=list(mine[:2]))
    assert len(plot.batch(tiny_batch(), count=8)) == len(tiny_batch()["mri"])


def test_saliency_leaves_the_model_alone() -> None:
    model, batch = tiny_model(), tiny_batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    axes = plot.saliency(model, batch, head="kl", method="gradcam")
    assert "of head kl" in axes[0].get_title(loc="left")
    assert len(axes[0].images) == 2  # the knee, and the colours over it
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_axis_from_its_table(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"projection": [0.0, 1.0, 2.0], "kl": [0, 1, None], "split": ["test", "test", "val"]}
    )
    table.to_csv(tmp_path / "severity_axis.csv", index=False)
    for run in (tmp_path, tmp_path / "severity_axis.csv", table):
        axes = plot.severity_axis(run)
        assert [label.get_text().split("\n")[1] for label in axes.get_yticklabels()] == ["(n=1)", "(n=1)"]
    with pytest.raises(ValueError, match=r"expected a split among \['test', 'val'\], got 'train'"):
        plot.severity_axis(table, "train")


def test_notebooks_are_stored_without_outputs() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["explain_and_compare", "first_model", "own_knees"]
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs"), path.name
            assert cell.get("execution_count") is None, path.name


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cell by cell in one namespace, with fewer knees and epochs than a reader has."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            code = re.sub(r"KNEES, EPOCHS = \d+, \d+", "KNEES, EPOCHS = 60, 1", "".join(cell["source"]))
            exec(compile(code, path.name, "exec"), names)
    assert list(tmp_path.glob("notebook/*/predictions.csv"))
