"""The contract of callbacks, as one test."""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger

from oahier.data.sampling import seeded
from oahier.testing.batches import tiny_batches, tiny_dataloader
from oahier.testing.contract import explained, require
from oahier.testing.model import tiny_model, tiny_trainer
from oahier.testing.watch import Watch, fingerprint

Heads = tuple[str, ...]


def check_callback(make_callback: Callable[[], L.Callback]) -> None:
    """Check that a callback reads a run without disturbing it.

    A tiny model is trained (with a sanity check, validation in the middle of an epoch and of an
    accumulation of gradients, missing labels and a batch without any), validated and tested in a temporary
    folder, with the callback and without. It must

    - leave weights, gradients, training modes, hooks, batches, step outputs and the random states of torch,
      numpy and python bit-equal, after every batch;
    - have a state that survives ``torch.load(weights_only=True)`` and loads into a new instance;
    - work in ``validate``, ``test`` and ``predict`` without ``fit``, without a logger, and for models with
      one head only.

    Args:
        make_callback: makes a new callback each time it is called.

    Raises:
        ContractError: the first thing that does not hold.
    """
    callback = make_callback()
    name = type(callback).__name__
    require(isinstance(callback, L.Callback), f"expected a lightning Callback, got {name}")
    require(make_callback() is not callback, f"{name}: make_callback must make a new one at every call")
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        alone = _whole_run(root / "without", None)
        with explained(f"{name}: fit, validate and test"):
            together = _whole_run(root / "with", callback)
        difference = together.difference(alone)
        require(difference is None, f"{name} disturbs the run: {difference}")
        _check_state(name, callback, make_callback, root / "state")
        cases: list[tuple[str, Heads]] = [
            ("test", ("oa", "kl")), ("predict", ("oa", "kl")), ("test", ("oa",)), ("validate", ("kl",)),
        ]  # fmt: skip
        for stage, heads in cases:
            with explained(f"{name}: {stage} without fit, heads {', '.join(heads)}, no logger"):
                _one_stage(root / f"{stage}-{'-'.join(heads)}", make_callback(), stage, heads)


def _whole_run(folder: Path, callback: L.Callback | None) -> Watch:
    watch = Watch()
    with seeded(7):
        model = tiny_model()
        trainer = tiny_trainer(
            folder,
            callbacks=[*([] if callback is None else [callback]), watch],
            logger=CSVLogger(folder / "log"),
            max_epochs=2,
            accumulate_grad_batches=2,
            val_check_interval=3,
            num_sanity_val_steps=1,
        )
        training = tiny_dataloader(tiny_batches(4, seed=1, missing=True), shuffle=True)
        held_out = tiny_dataloader(tiny_batches(4, seed=2, missing=True))
        trainer.fit(model, training, held_out)
        trainer.validate(model, held_out, verbose=False)
        trainer.test(model, held_out, verbose=False)
        watch.look("the end", model)
    return watch


def _one_stage(folder: Path, callback: L.Callback, stage: str, heads: Heads) -> None:
    with seeded(3):
        model = tiny_model(heads)
        trainer = tiny_trainer(folder, callbacks=[callback])
        batches = tiny_dataloader(tiny_batches(4, seed=2))
        if stage == "predict":
            trainer.predict(model, batches, return_predictions=False)
        else:
            getattr(trainer, stage)(model, batches, verbose=False)


def _check_state(name: str, callback: L.Callback, make: Callable[[], L.Callback], folder: Path) -> None:
    with explained(f"{name}.state_dict"):
        state = callback.state_dict()
    require(isinstance(state, dict), f"{name}.state_dict: expected a dictionary, got {type(state).__name__}")
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    with explained(f"{name}.state_dict: torch.load(weights_only=True), as checkpoints are loaded,"):
        loaded = torch.load(file, weights_only=True)
    again = make()
    with explained(f"{name}.load_state_dict"):
        again.load_state_dict(loaded)
    require(
        fingerprint(again.state_dict()) == fingerprint(state),
        f"{name}.load_state_dict: the state of a new instance that loaded it is another one",
    )
    with explained(f"{name}: test with a loaded state"):
        _one_stage(folder, again, "test", ("oa", "kl"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what Lightning says about runs as small as these, and run them on one thread; here only."""
    log, threads = logging.getLogger("lightning.pytorch"), torch.get_num_threads()
    level = log.level
    try:
        log.setLevel(logging.ERROR)
        torch.set_num_threads(1)  # these volumes are too small to share
        with warnings.catch_warnings():
            for message in (
                "does not have many workers",
                "isinstance.treespec, LeafSpec",
                "GPU available but",
            ):
                warnings.filterwarnings("ignore", message=f".*{message}.*")
            yield
    finally:
        log.setLevel(level)
        torch.set_num_threads(threads)
