"""``oahier fit | validate | test``: LightningCLI around our model and data."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
import yaml
from jsonargparse import get_loader, set_loader
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from oahier.callbacks.keys import run_directory, stage_of
from oahier.cli.report import print_results
from oahier.data import KneeMRIDataModule
from oahier.files import write_atomically
from oahier.model import HierarchicalClassifier
from oahier.specs import MissingClassError, current_paths
from oahier.specs.trust import in_words, restrict_parsers


def run_training_command(words: list[str]) -> int:
    """Parse and run one Lightning command.

    Raises:
        ValueError: see the data module and the model; nothing is trained then.
    """
    # Lightning 2.6 calls a deprecated function of torch for every batch; nothing that a user could act on
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    restrict_parsers()
    set_loader(_MODE, _load_current, (yaml.YAMLError,))
    command = OahierCLI(
        HierarchicalClassifier,
        KneeMRIDataModule,
        args=[_current_word(word) for word in words],
        parser_class=ArgumentParser,
        parser_kwargs={"parser_mode": _MODE},
        seed_everything_default=0,
        save_config_callback=RunConfig,
        save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
        auto_configure_optimizers=False,
    )
    _finish_tracking(command.trainer)
    return 0


_MODE = "oahier"
"""YAML in which the class paths of earlier versions are understood."""


def _load_current(text: str) -> Any:
    return current_paths(get_loader("yaml")(text))


def _current_word(word: str) -> str:
    option, equals, value = word.rpartition("=")
    return f"{option}{equals}{current_paths(value)}"


class ArgumentParser(LightningArgumentParser):
    """Lightning's parser, which says how to trust a package where a class path names another one."""

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        super().error(in_words(message), ex)


def _finish_tracking(trainer: L.Trainer) -> None:
    """End the Weights & Biases run of a command, so that the next one in this process has its own."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


class RunConfig(SaveConfigCallback):
    """Writes the resolved configuration into the run's folder (``config.yaml``, ``test.yaml``, ...)."""

    @override
    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        name = "config.yaml" if trainer.state.fn == TrainerFn.FITTING else f"{stage_of(trainer)}.yaml"
        config = self.config.clone()
        data = getattr(trainer, "datamodule", None)
        if isinstance(data, KneeMRIDataModule):  # other knees are later seen at the spacing of these
            config["data"]["spacing"] = [float(length) for length in data.spacing]
        text = self.parser.dump(config, skip_none=False)
        write_atomically(run_directory(trainer) / name, text)


class OahierCLI(LightningCLI):
    """LightningCLI that never evaluates untrained weights and ends with a table."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's commands but ``predict``: ours starts from scans instead (``oahier predict``)."""
        return {name: skipped for name, skipped in LightningCLI.subcommands().items() if name != "predict"}

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults({"trainer.default_root_dir": "runs/default"})

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            self.config = parser.parse_args(args)
        except ImportError as error:
            raise MissingClassError(in_words(str(error))) from error

    @override
    def instantiate_classes(self) -> None:
        super().instantiate_classes()
        specification = self.config[str(self.subcommand)].model.clone().as_dict()
        self.model.remember(specification)  # the configuration is the serial form, whoever wrote the classes

    def before_validate(self) -> None:
        self._require_checkpoint("validate")

    def before_test(self) -> None:
        self._require_checkpoint("test")

    def after_fit(self) -> None:
        print_results(self.trainer, "val")

    def after_validate(self) -> None:
        print_results(self.trainer, "val")

    def after_test(self) -> None:
        print_results(self.trainer, "test")

    def _require_checkpoint(self, command: str) -> None:
        options: Any = self.config_init[command]
        best = run_directory(self.trainer) / "checkpoints" / "best.ckpt"
        if options.get("ckpt_path") is None:
            if not best.is_file():
                raise ValueError(
                    f"oahier {command}: expected --ckpt_path FILE or a checkpoint at {best}, found neither; "
                    "train first (oahier fit), or an untrained model would be evaluated"
                )
            options["ckpt_path"] = str(best)
        path = options["ckpt_path"]
        if path not in ("best", "last", "hpc", "registry") and not Path(path).is_file():
            raise ValueError(f"oahier {command}: --ckpt_path {path}: no such file")
        options["weights_only"] = True
        if "verbose" in options:
            options["verbose"] = False  # our own table says it, with intervals
