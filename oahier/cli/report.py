"""Last lines of a training, a validation or a test: results, files, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lightning as L
from rich.console import Console

from oahier.callbacks.keys import Stage, run_directory, stage_directory
from oahier.callbacks.run_folder import BEST
from oahier.callbacks.run_results import results
from oahier.cli.next_steps import Step, say_next
from oahier.model import ChangeModel


def print_results(trainer: L.Trainer, stage: Stage) -> None:
    """Print the results of a stage by head, with 95 % intervals where there are some, and the files."""
    if not trainer.is_global_zero:
        return
    console = Console()
    folder = stage_directory(trainer, stage)
    if any(name.startswith(f"{stage}/") for name in trainer.callback_metrics):
        console.print(results(trainer).rendered(), soft_wrap=False, highlight=False)
    files = list(shown_files(folder))
    if files:
        console.print(f"\nFiles in [bold]{folder}[/bold]", soft_wrap=True)
        for line in files:
            print(f"  {line}")
    say_next(*_steps(trainer, stage))


def shown_files(folder: Path) -> Iterator[str]:
    """The files of a stage by name, and how many figures there are; no hidden ones."""
    paths = sorted(path for pattern in ("*.*", "checkpoints/*") for path in folder.glob(pattern))
    for path in paths:
        if path.is_file() and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix()
    figures = sorted(path.name for path in folder.glob("pictures/*.png"))
    if figures:
        yield f"pictures/: {len(figures)} figures, such as {', '.join(figures[:3])}"


def _steps(trainer: L.Trainer, stage: Stage) -> Iterator[Step]:
    run = run_directory(trainer)
    config, best = run / "config.yaml", run / "checkpoints" / BEST
    if stage == "val" and best.is_file() and config.is_file():
        yield ["test", "--config", config], "once, when the model is chosen"
    checkpoint = best if best.is_file() else trainer.ckpt_path
    single = not isinstance(trainer.lightning_module, ChangeModel)  # grades one scan at a time
    if checkpoint and single:
        yield ["predict", checkpoint, "scan.nii.gz"], "grade a scan, with overlays and a page"
    if stage == "test":
        yield ["clinical", run / "predictions.csv"], "calibration, net benefit, subgroups"
    if stage == "test" and single:
        yield ["export", checkpoint, run / "exported"], "for other tools, with a model card"
