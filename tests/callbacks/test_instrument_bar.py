"""The line below the progress bar: which instrument works, how far it is, and where nothing is shown."""

from __future__ import annotations

import io
import sys
import threading

import lightning as L
import pytest
import rich
import torch
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

import oahier as oh
from oahier.callbacks import instrument_bar
from oahier.callbacks.instrument_bar import InstrumentBar, Line, RichLine
from oahier.progress import beating, portion, steps


class Looks(oh.StepRecorder):
    """An instrument that takes four steps a batch and two at the end, and whose time is made up."""

    def __init__(self, name: str, cost: float = 0.0) -> None:
        super().__init__(name=name)
        self.cost = cost

    def collect(self, trainer, pl_module, output, batch):
        self.seconds += self.cost
        with portion(0, 0.5):
            list(steps(range(2)))
        with portion(0.5, 1):
            list(steps("ab"))
        return {"one": torch.ones(len(output["knee"]))}

    def finish(self, trainer, pl_module, stage, table):
        list(steps(range(2)))


class Ends(oh.StepRecorder):
    """An instrument that looks at no batch."""

    def finish(self, trainer, pl_module, stage, table):
        pass


class Lines(Line):
    """What is shown, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, float]] = []
        self.closed = 0

    def show(self, text, done, total):
        self.told.append((text, round(done, 3), total))

    def draw(self):
        pass

    def close(self):
        self.closed += 1


@pytest.fixture
def lines(monkeypatch):
    made = Lines()
    monkeypatch.setattr(instrument_bar, "line_below", lambda trainer: made)
    return made


def test_the_line_follows_instruments_batches_and_results(trainer, tiny_model, loader, lines):
    trainer(Looks("map", cost=30), Ends(name="end"), Looks("probe", cost=10)).test(
        tiny_model(), loader(10), verbose=False
    )
    halves = [0, 0.125, 0.25, 0.375, 0.5, 0.5]
    first = [*(("map", done, 2) for done in halves), *(("probe", 0.5 + done, 2) for done in halves)]
    shares = [0, 0.25, 0.5, 0.75, 1, 1]  # in the second batch by the time that the first one took
    second = [("map", 1 + 0.75 * share, 2) for share in shares]
    second += [("probe", 1.75 + 0.25 * share, 2) for share in shares]
    end = [("map, results", done, 3) for done in (0, 0.5, 1, 1)]
    end += [("end, results", done, 3) for done in (1, 2)]
    end += [("probe, results", done, 3) for done in (2, 2.5, 3, 3)]
    assert [(text, pytest.approx(done, abs=1e-3), total) for text, done, total in lines.told] == [
        *first, *second, *end,
    ]  # fmt: skip
    assert lines.closed == 1


@pytest.mark.parametrize("stage", ["validate", "predict"])
def test_other_evaluations_show_it_too(trainer, tiny_model, loader, lines, stage):
    run = trainer(Looks("map"))
    getattr(run, stage)(tiny_model(), loader(10))
    assert lines.told[0] == ("map", 0, 2)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["collect", "finish"])
def test_the_line_goes_when_an_instrument_fails(trainer, tiny_model, loader, lines, error, place):
    """What is printed next would begin in the middle of it."""

    class Fails(Looks):
        def collect(self, *arguments):
            return self.work("collect", *arguments)

        def finish(self, *arguments):
            self.work("finish", *arguments)

        def work(self, where, *arguments):
            if where == place:
                raise error
            return getattr(super(), where)(*arguments)

    before = threading.active_count()
    with pytest.raises((error, SystemExit)):
        trainer(Fails("map")).test(tiny_model(), loader(10), verbose=False)
    assert lines.told
    assert lines.closed == 1
    assert threading.active_count() == before, "nobody draws any more"


def test_training_shows_nothing(trainer, tiny_model, loader, lines):
    trainer(Looks("map"), max_epochs=1).fit(tiny_model(), loader(8), loader(8))
    assert not lines.told


def test_a_recorder_that_another_one_calls_shows_nothing(trainer, lines):
    run, inner = trainer(Looks("map")), Looks("inner")
    bar = InstrumentBar()
    with bar.batch(run, [], inner, 0), bar.end(run, [], inner):
        list(steps(range(3)))
    assert not lines.told


class Terminal(io.StringIO):
    """A terminal that is read."""

    def isatty(self) -> bool:
        return True


def shown(bar, model, data, monkeypatch, tmp_path, *, terminal=True):
    """What a test with an instrument writes to standard output."""
    out = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(rich, "_console", None)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "JUPYTER_COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    run = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False,
        default_root_dir=tmp_path, callbacks=[Looks("mapping"), *([bar] if bar else [])],
        enable_progress_bar=bar is not None,
    )  # fmt: skip
    run.test(model, data, verbose=False)
    return out.getvalue()


@pytest.mark.parametrize("kind", [RichProgressBar, TQDMProgressBar])
def test_it_is_seen_below_the_bar_of_lightning(kind, tiny_model, loader, monkeypatch, tmp_path):
    text = shown(kind(), tiny_model(), loader(10), monkeypatch, tmp_path)
    assert "mapping" in text
    assert "mapping, results" in text
    assert "Testing" in text
    assert "2/2" in text, "Lightning's own bar ends as ever"


@pytest.mark.parametrize("kind", [RichProgressBar, TQDMProgressBar, None])
def test_nothing_where_nobody_looks(kind, tiny_model, loader, monkeypatch, tmp_path):
    bar = kind and kind()
    text = shown(bar, tiny_model(), loader(10), monkeypatch, tmp_path, terminal=kind is None)
    assert "mapping" not in text
    if kind is RichProgressBar:
        monkeypatch.undo()
        off = shown(RichProgressBar(refresh_rate=0), tiny_model(), loader(10), monkeypatch, tmp_path)
        assert "mapping" not in off


def test_only_the_first_process_shows_it(trainer, monkeypatch):
    run = trainer(TQDMProgressBar(), enable_progress_bar=True)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert instrument_bar.line_below(run) is not None
    monkeypatch.setattr(type(run), "is_global_zero", property(lambda self: False))
    assert instrument_bar.line_below(run) is None


def test_a_line_without_a_bar_that_began_stays_away(trainer):
    assert instrument_bar.line_below(trainer(RichProgressBar(), enable_progress_bar=True)) is None
    RichLine(RichProgressBar()).close()


def test_the_time_runs_on_while_an_instrument_says_nothing():
    drawn, twice, before = [], threading.Event(), threading.active_count()

    def draw() -> None:
        drawn.append(1)
        if len(drawn) == 2:
            twice.set()

    with beating(draw, every=0.001):
        assert twice.wait(timeout=60)
    assert threading.active_count() == before, "nobody draws any more"
