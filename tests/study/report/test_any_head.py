"""A head that the library has no word for reaches the tables and the report of a study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from oahier.study import read_study
from oahier.study.report import write_report
from oahier.study.report.contents import read_contents
from oahier.study.report.panels import classes_of, prediction_panels
from oahier.study.tables import write_tables


@pytest.mark.parametrize("heads", [("jsn",), ("oa", "kl", "jsn")])
def test_a_head_of_any_name_is_in_tables_and_report(
    small: Callable[..., Path], heads: tuple[str, ...]
) -> None:
    folder = small(heads=heads, saliency=(), supervisions=("single-kl", "dual"), figures=heads == ("jsn",))
    write_tables(read_study(folder))
    tables = {path.stem: pd.read_csv(path) for path in (folder / "tables").glob("*.csv")}
    for name in ("cells", "headline", "comparisons"):
        assert "jsn" in set(tables[name]["task"]), name
    headline = tables["headline"].query("task == 'jsn'")
    predictions = pd.read_csv(next(folder.glob("cells/*dual*/predictions.csv")))
    p = predictions[[f"prob_jsn_{grade}" for grade in range(4)]].to_numpy()
    accuracy = (p.argmax(axis=1) == predictions["label_jsn"]).mean()
    row = headline.query("metric == 'accuracy' and supervision == 'dual'").iloc[0]
    assert row["value"] == pytest.approx(accuracy)
    probes = headline.groupby("supervision")["probe"].first()
    assert probes.to_dict() == {"dual": True, "single-kl": True}

    panels = prediction_panels(read_contents(folder))
    dual = next(panel for panel in panels if "Dual" in panel.condition)
    assert dual.classes["jsn"] == ("0", "1", "2", "3")
    np.testing.assert_array_equal(
        dual.confusion["jsn"], confusion_matrix(predictions["label_jsn"], p.argmax(axis=1), labels=range(4))
    )
    assert list(classes_of(panels))[-1] == "jsn"
    report = write_report(folder).parent
    text = (report / "index.html").read_text(encoding="utf-8")
    assert "jsn on the test split" in text
    assert ("No model of this study has a head for KL" in text) == ("kl" not in heads)
    if heads == ("jsn",):
        names = {path.name for path in report.rglob("*")}
        assert {"confusion_jsn.pdf", "reliability_jsn.pdf"} <= names or "confusion_jsn.svg" in names


def test_a_diverged_cell_is_undefined_and_the_others_are_not(small: Callable[..., Path]) -> None:
    folder = small(saliency=(), supervisions=("single-kl", "dual"))
    path = next(folder.glob("cells/*dual*/predictions.csv"))
    table = pd.read_csv(path)
    table[[f"prob_kl_{grade}" for grade in range(5)]] = np.nan
    table.to_csv(path, index=False)
    write_tables(read_study(folder))
    headline = pd.read_csv(folder / "tables" / "headline.csv").query("task == 'KL'")
    defined = headline.groupby("supervision")["value"].apply(lambda values: values.notna().all())
    assert defined.to_dict() == {"dual": False, "single-kl": True}
    text = (write_report(folder).parent / "index.html").read_text(encoding="utf-8")
    assert "KL on the test split" in text
