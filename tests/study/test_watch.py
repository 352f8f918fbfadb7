"""Lines about cells in training."""

from __future__ import annotations

import os
import time
from pathlib import Path

import yaml

from oahier.study.cells import Cell
from oahier.study.watch import running_lines


def test_epoch_and_monitored_value_of_cells_that_train(tmp_path: Path) -> None:
    cells = []
    for name in ("dual_0", "old_0", "done_0", "again_0"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump({"trainer": {"max_epochs": 40}}))
        (folder / "learning_curves.csv").write_text("epoch,val/kl/qwk\n1,0.1\n2,0.61234\n")
        cells.append(Cell(folder, name, {}, {"monitor": "val/kl/qwk"}))
    now = time.time()
    os.utime(tmp_path / "old_0/learning_curves.csv", (now - 100, now - 100))
    (tmp_path / "done_0/metrics.json").write_text("{}")
    (tmp_path / "again_0/failure.txt").write_text("of an earlier run")
    os.utime(tmp_path / "again_0/failure.txt", (now - 100, now - 100))
    assert running_lines(cells, now - 10) == [
        "  dual_0: epoch 2/40, val/kl/qwk 0.612", "  again_0: epoch 2/40, val/kl/qwk 0.612",
    ]  # fmt: skip
