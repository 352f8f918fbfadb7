"""The table that ends a command."""

from __future__ import annotations

import json
import math
from pathlib import Path

from oahier.cli.report import _intervals, results_table


def test_rows_are_grouped_by_head_in_the_order_of_the_metrics(tmp_path: Path) -> None:
    values = {
        "test/kl/qwk": 0.71234, "test/kl/knees": 12.0, "test/kl/macro_auc": math.nan, "test/loss": 1.5,
        "test/kl/oa_auc": 0.9, "test/axis/separation": 1.25, "test/kl/accuracy": 0.5,
    }  # fmt: skip
    path = tmp_path / "metrics.json"
    intervals = {"test/kl/qwk": [0.6, 0.8], "test/kl/macro_auc": [None, None]}
    path.write_text(json.dumps({"intervals": intervals}))
    table = results_table(values, _intervals(path), "test")
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows == [
        ("", "loss", "1.5", ""),
        ("axis", "separation", "1.25", ""),
        ("kl", "macro AUC", "undefined", "undefined"),
        ("", "accuracy", "0.5", ""),
        ("", "QWK", "0.7123", "0.600 to 0.800"),
        ("", "knees", "12", ""),
        ("", "OA AUC", "0.9", ""),
    ]
    assert _intervals(tmp_path / "none.json") == {}
