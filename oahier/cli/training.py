"""``oahier fit | validate | test``: LightningCLI around our model and data."""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import Checkpoint, ModelSummary, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from oahier.callbacks.epoch_checkpoint import LastCheckpoint
from oahier.callbacks.keys import run_directory, stage_of
from oahier.callbacks.run_folder import LAST
from oahier.cli.classes import Classes, without_classes
from oahier.cli.evaluation import (
    content_of,
    evaluated_checkpoint,
    refuse_model_options,
    require_its_class,
    require_its_data,
    take_from,
)
from oahier.cli.lightning_parser import MODE, LightningParser, current_word, understand_earlier_paths
from oahier.cli.parameter_summary import ParameterSummary
from oahier.cli.progress_bar import EpochBar
from oahier.cli.report import print_results
from oahier.cli.starting_point import starting_point
from oahier.cli.tracking import continue_tracking, finish_tracking, keep_tracking
from oahier.cli.wording import is_ours, one_line
from oahier.files import write_atomically
from oahier.interrupts import Terminated
from oahier.model.checkpoints import epochs_and_steps
from oahier.specs import MissingClassError, import_class
from oahier.specs.errors import SpecError
from oahier.specs.trust import in_words, restrict_parsers
from oahier.speed import Speed, SpeedSetting
from oahier.speed.setting import SPEED_FILE, tried_before, tried_speed

_NOTHING_TO_DO = (
    ".*isinstance.treespec, LeafSpec.*",  # Lightning 2.6 calls a deprecated function of torch for every batch
    "Starting from v1.9.0, `tensorboardX`.*",  # its own table of values is written in any case
    "Total length of .* across ranks is zero.*",  # a training without validation knees, as was asked for
)
"""Warnings of Lightning's that a user cannot act on."""


def run_training_command(words: list[str]) -> int:
    """Parse and run one Lightning command.

    Raises:
        ValueError: see the data module and the model; nothing is trained then.
    """
    for message in _NOTHING_TO_DO:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_advert)
    restrict_parsers()
    understand_earlier_paths()
    words = [current_word(word) for word in words]
    if words[0] != "fit":
        refuse_model_options(words[0], words)
    classes = Classes.named_by(words)
    LightningParser.named = classes.others()
    OahierCLI.classes = classes
    command = OahierCLI(
        classes.model,
        classes.data,
        args=without_classes(words),
        parser_class=LightningParser,
        parser_kwargs={"parser_mode": MODE, "prog": "oahier"},
        seed_everything_default=0,
        save_config_callback=RunConfig,
        save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
        auto_configure_optimizers=False,
    )
    finish_tracking(command.trainer)
    return 0


def _no_advert(record: logging.LogRecord) -> bool:
    """False for Lightning's advertisements of other products, and for what we say ourselves."""
    ours = ("Trainer already configured with model summary", "\nDetected KeyboardInterrupt")
    return not str(record.msg).startswith(("💡", *ours))


class RunConfig(SaveConfigCallback):
    """Writes the resolved configuration into the run's folder (``config.yaml``, ``test.yaml``, ...).

    The configuration of a fit names no checkpoint, or each command that reads it would take that one; a
    comment in its first lines records every resume.
    """

    @override
    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        fitting = trainer.state.fn == TrainerFn.FITTING
        path = run_directory(trainer) / ("config.yaml" if fitting else f"{stage_of(trainer)}.yaml")
        config = self.config.clone()
        config["speed"] = tried_speed(trainer) or config["speed"]
        data: Any = getattr(trainer, "datamodule", None)
        if "spacing" in config["data"]:  # other knees are later seen at the spacing of these
            config["data"]["spacing"] = [float(length) for length in data.spacing]
        if fitting:
            config.pop("overwrite", None)
            resumes = _resumes(path, config.ckpt_path)
            config["ckpt_path"] = None
            self.parser.dump_header = [*(self.parser.dump_header or []), *resumes]
            keep_tracking(trainer)
        write_atomically(path, self.parser.dump(config, skip_none=False))

    @override
    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Say with an interrupt how the training goes on."""
        run = run_directory(trainer)
        fitting = trainer.state.fn == TrainerFn.FITTING and (run / "checkpoints" / LAST).is_file()
        if fitting and isinstance(exception, (KeyboardInterrupt, Terminated)):
            exception.args = (f"to go on: oahier fit --config {run / 'config.yaml'} --ckpt_path last",)


def _resumes(path: Path, checkpoint: Any) -> list[str]:
    """What the run of a configuration was resumed from before and now, for comments in its first lines."""
    if not checkpoint or not Path(checkpoint).is_file():
        return []
    known = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    epochs = epochs_and_steps(checkpoint).get("epoch", 0)
    before = [line.removeprefix("# ") for line in known if line.startswith("# resumed from")]
    return [*before, f"resumed from {checkpoint}, after {epochs} epochs"]


class OahierCLI(LightningCLI):
    """LightningCLI that never evaluates untrained weights and ends with a table."""

    classes: Classes
    """What is trained, and on what."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's commands but ``predict``: ours starts from scans instead (``oahier predict``)."""
        return {name: skipped for name, skipped in LightningCLI.subcommands().items() if name != "predict"}

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults({"trainer.default_root_dir": "runs/default"})
        parser.add_argument(
            "--speed",
            type=Literal["none", "auto"] | Speed,
            default="none",
            help="precision, channels_last and compile; auto: what a trial of 20 steps finds fastest",
        )

    @override
    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> Any:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "fit":
            parser.add_argument(
                "--overwrite", action="store_true", help="train anew in the folder of an earlier run"
            )
        return parser

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        parser.prog = LightningParser.command = f"oahier {args[0]}"
        try:
            self.config = parser.parse_args(args)
        except ImportError as error:
            raise MissingClassError(in_words(str(error))) from error
        except UnicodeDecodeError as error:
            files = ", ".join(
                word.removeprefix("--config=") for word in args if word.endswith((".yaml", ".yml"))
            )
            raise SpecError(f"--config: expected UTF-8 text in {files}, got another encoding") from error
        except AttributeError as error:  # jsonargparse 4.53, of a class that is not there
            for option, path in itertools.pairwise(args):
                if option.endswith(".class_path"):
                    import_class(path)
            raise SpecError(f"the options cannot be read: {one_line(str(error))}") from error
        options = self.config[self.config.subcommand]
        if self.config.subcommand == "fit":
            options.ckpt_path = starting_point(options)
        else:
            options.ckpt_path = evaluated_checkpoint(self.config.subcommand, options)

    @override
    def _parse_ckpt_path(self) -> None:
        """Take the model from the checkpoint for evaluations; a resumed training is as its options say."""
        self._evaluated: Mapping[str, Any] = {}
        command = self.config.subcommand
        options = self.config[command]
        content = content_of(options.ckpt_path or "")
        require_its_class(command, options.ckpt_path, content, self.classes.model)
        if command == "fit":
            taken = {"speed": self._speed_of_the_resumed(options)}
        else:
            self._evaluated = content
            taken = {"model": take_from(self._evaluated, options)}
        if any(taken.values()):
            self.config = self.parser.parse_object({command: taken}, self.config)

    @staticmethod
    def _speed_of_the_resumed(options: Any) -> dict[str, Any]:
        """What the training tried before it was stopped: a second trial could choose otherwise."""
        run = Path(options.trainer.default_root_dir)
        before = tried_before(run) if options.ckpt_path and options.speed == "auto" else None
        if before is None:
            return {}
        print(f"speed: {before}, as {run / SPEED_FILE} has it")
        return before.as_dict()

    @override
    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except Exception as error:  # of any class that the configuration names, torch's own included
            if is_ours(error):
                raise
            raise SpecError(f"{one_line(str(error))} (--traceback shows where)") from error
        options = self.config[str(self.subcommand)]
        self.model.remember(options.model.clone().as_dict())  # as configured, whoever wrote the classes
        fitting = self.subcommand == "fit"  # an evaluation is part of the run whose folder it writes to
        continue_tracking(self.trainer, resumed=not fitting or bool(options.ckpt_path))
        if not fitting:
            require_its_data(str(self.subcommand), options, self._evaluated, self.datamodule)

    @override
    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """With our progress bar, last checkpoint and table of components, where none are named or refused."""
        options: Any = self._get(self.config_init, "trainer", default={})
        given = options.get("callbacks") or []
        given = given if isinstance(given, list) else [given]
        ours: tuple[tuple[str, type[L.Callback], type[L.Callback]], ...] = (
            ("enable_progress_bar", ProgressBar, EpochBar),
            ("enable_checkpointing", Checkpoint, LastCheckpoint),
            ("enable_model_summary", ModelSummary, ParameterSummary),
        )
        added: list[L.Callback] = [
            made()
            for option, kind, made in ours
            if options.get(option) is not False and not any(isinstance(one, kind) for one in given)
        ]
        if options.get("barebones"):
            added = []
        speed = self._get(self.config_init, "speed")
        if speed != "none":
            added.append(SpeedSetting(speed))
        if added:
            self.trainer_defaults = {**self.trainer_defaults, "callbacks": added}
        return super().instantiate_trainer(**kwargs)

    def before_fit(self) -> None:
        self.config_init["fit"]["weights_only"] = True

    def before_validate(self) -> None:
        self._evaluate_quietly("validate")

    def before_test(self) -> None:
        self._evaluate_quietly("test")

    def after_fit(self) -> None:
        print_results(self.trainer, "val")

    def after_validate(self) -> None:
        print_results(self.trainer, "val")

    def after_test(self) -> None:
        print_results(self.trainer, "test")

    def _evaluate_quietly(self, command: str) -> None:
        """Load plain weights; our own table says what Lightning's would, with intervals."""
        warnings.filterwarnings("ignore", message="The dirpath has changed")  # the folder of an evaluation
        options: Any = self.config_init[command]
        options["weights_only"], options["verbose"] = True, False
