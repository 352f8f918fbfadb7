"""The rule of choice, with made-up times and outcomes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oahier.model.execution import CompileError
from oahier.speed.choice import Speed
from oahier.speed.deviation import MIXED, SAME, Deviation, Outcome, deviation
from oahier.speed.pairs import median_interval
from oahier.speed.table import Trial, table_text
from oahier.speed.trial import COMPILING, LEAST_ROUNDS, STEPS, compare_candidates

NOISE = (1.0, 1.04, 0.97, 1.01, 0.95, 1.03)
EAGER, LAST, COMPILED = Speed(), Speed(channels_last=True), Speed(compile=True)
MIX, BOTH = Speed(precision="bf16-mixed"), Speed(precision="bf16-mixed", channels_last=True)


class MadeUp:
    """Steps that say how long they took."""

    def __init__(
        self, seconds: Sequence[float], *, shift: float = 0.0, gradient: float = 0.0, first: float = 1.0
    ):
        self.times, self.taken, self.shift, self.gradient, self.first = (
            cycle(seconds),
            0,
            shift,
            gradient,
            first,
        )

    def step(self, index: int) -> float:
        self.taken += 1
        return next(self.times)

    def outcome(self) -> tuple[Outcome, float]:
        values = torch.tensor([-1.0, -2.0 + self.shift])
        return Outcome(values, 2.0, torch.tensor([3.0, 4.0 + 5 * self.gradient])), self.first

    def memory(self) -> float | None:
        return None


def tried(
    sides: Mapping[Speed, MadeUp | Exception], precisions: Sequence[str] = (), planned: int | None = None
) -> Trial:
    """A trial of these; every other candidate takes as long as eager."""
    slow = {EAGER: MadeUp(NOISE)}

    def make(speed: Speed) -> MadeUp:
        side = {**slow, **sides}.get(speed) or MadeUp(NOISE)
        if isinstance(side, Exception):
            raise side
        return side

    return compare_candidates(make, precisions, device="made-up", planned_steps=planned)


def verdicts(trial: Trial) -> dict[str, str]:
    return {str(row.speed): row.verdict for row in trial.rows}


def test_what_is_faster_is_taken_and_its_ratio_is_paired() -> None:
    trial = tried({LAST: MadeUp([0.5 * noise for noise in NOISE])})
    assert trial.choice == LAST
    row = trial.rows[1]
    assert row.taken
    assert row.speedup is not None
    assert 1.7 < row.speedup.low <= row.speedup.median <= row.speedup.high < 2.3


def test_what_is_as_fast_stays_eager() -> None:
    trial = tried({})
    assert trial.choice == EAGER
    assert trial.rows[0].taken
    assert "not faster than eager" in verdicts(trial)["channels_last"]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(1.0, 1.5))
def test_noise_alone_is_hardly_ever_taken(seed: int, factor: float) -> None:
    """With times that depend on nothing, eager wins but for the probability that the interval has."""
    generator = np.random.default_rng(seed)
    noisy = lambda scale: MadeUp((scale * generator.lognormal(0, 0.3, 500)).tolist())  # noqa: E731
    trial = tried({EAGER: noisy(1.0), LAST: noisy(factor), COMPILED: noisy(factor)})
    for row in trial.rows[1:]:
        if row.taken and row.speedup is not None:
            assert row.speedup.low > 1


def test_rate_of_wrong_choices() -> None:
    """Two candidates that are no faster: at most 2 x 0.006 are taken, by the binomial distribution."""
    generator, wrong = np.random.default_rng(1), 0
    for _ in range(300):
        noisy = [MadeUp(generator.lognormal(0, 0.3, 200).tolist()) for _ in range(3)]
        wrong += tried({EAGER: noisy[0], LAST: noisy[1], COMPILED: noisy[2]}).choice != EAGER
    assert wrong <= 10  # 3.5 are expected; P(more than 10) = 0.001


def test_a_slow_candidate_is_given_up_early() -> None:
    slower, hopeless = MadeUp([1.5]), MadeUp([50.0])
    trial = tried({MIX: slower, BOTH: hopeless}, ["bf16-mixed"])
    assert f"slower in each of {LEAST_ROUNDS} steps" in verdicts(trial)["bf16-mixed"]
    assert slower.taken < STEPS
    assert hopeless.taken == 2
    assert "times slower" in verdicts(trial)["bf16-mixed, channels_last"]


def test_results_outside_the_tolerance_are_not_taken_however_fast() -> None:
    fast = [0.1]
    trial = tried({LAST: MadeUp(fast, shift=2 * SAME.log_probability), COMPILED: MadeUp(fast, gradient=0.1)})
    assert trial.choice == EAGER
    assert verdicts(trial) == {
        "eager": "taken", "channels_last": "outside the tolerance", "compile": "outside the tolerance"
    }  # fmt: skip
    assert tried({MIX: MadeUp(fast, gradient=0.1)}, ["bf16-mixed"]).choice.precision == "bf16-mixed"
    assert tried({LAST: MadeUp(fast, shift=math.nan)}).choice == EAGER
    assert tried({MIX: MadeUp(fast, gradient=2 * MIXED.gradient)}, ["bf16-mixed"]).choice == EAGER


def test_combinations_have_to_beat_the_best_before() -> None:
    both = {LAST: MadeUp([0.5]), BOTH: MadeUp([0.2]), Speed("bf16-mixed", True, True): MadeUp([0.3])}
    trial = tried(both, ["bf16-mixed"])
    assert trial.choice == BOTH
    assert [str(row.speed) for row in trial.rows] == [
        "eager", "channels_last", "bf16-mixed", "bf16-mixed, channels_last",
        "bf16-mixed, channels_last, compile",
    ]  # fmt: skip
    assert "slower in each" in trial.rows[-1].verdict


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (
            RuntimeError("\nview size is not compatible\nmore"),
            "failed: RuntimeError: view size is not compatible",
        ),
    ],
)
def test_what_cannot_run_is_a_row(error: Exception, words: str) -> None:
    trial = tried({LAST: error, COMPILED: MadeUp([0.5])})
    assert verdicts(trial)["channels_last"] == words
    assert trial.choice == COMPILED


def test_what_cannot_be_compiled_says_why() -> None:
    error = CompileError("the encoder cannot be compiled here: no compiler; train it without")
    assert verdicts(tried({COMPILED: error}))["compile"] == "could not compile: no compiler"


def test_a_compilation_has_to_be_won_back() -> None:
    slow_to_make = lambda: {COMPILED: MadeUp([0.5], first=100.0)}  # noqa: E731
    assert tried(slow_to_make(), planned=1000).choice == COMPILED
    assert tried(slow_to_make()).choice == COMPILED, "of unknown length"
    short = tried(slow_to_make(), planned=100)
    assert short.choice == EAGER
    assert "compiling takes 100 s, 100 steps save 50 s" in verdicts(short)["compile"]


def test_nothing_is_compiled_for_a_training_that_is_over_before() -> None:
    short = tried({COMPILED: RuntimeError("was compiled")}, planned=int(COMPILING) - 1)
    assert verdicts(short)["compile"] == f"not tried: all 9 planned steps take {9.0:.1f} s"
    assert short.choice == EAGER


def test_eager_errors_are_raised() -> None:
    with pytest.raises(RuntimeError, match="no gradient"):
        tried({EAGER: RuntimeError("no gradient")})


@given(st.lists(st.floats(0.1, 10), min_size=7, max_size=40))
def test_interval_holds_the_median_and_does_not_depend_on_the_order(values: list[float]) -> None:
    found = median_interval(values)
    assert found.low <= found.median <= found.high
    assert found == median_interval(values[::-1])
    assert found.low in values


def test_interval_has_the_coverage_that_it_claims() -> None:
    generator = np.random.default_rng(0)
    below = above = 0
    for _ in range(4000):
        found = median_interval(generator.standard_cauchy(20).tolist())
        below, above = below + (found.high < 0), above + (found.low > 0)
    exact = sum(math.comb(20, k) for k in range(5)) / 2**20  # 0.0059
    assert below / 4000 == pytest.approx(exact, abs=0.004)
    assert above / 4000 == pytest.approx(exact, abs=0.004)


def test_deviation_of_a_zero_gradient_is_its_norm() -> None:
    nothing = Outcome(torch.zeros(1), 1.0, torch.zeros(2))
    assert deviation(Outcome(torch.zeros(1), 1.0, torch.tensor([3.0, 4.0])), nothing) == Deviation(
        0.0, 0.0, 5.0
    )


def test_table_shows_every_row_and_the_tolerance() -> None:
    text = table_text(
        tried({LAST: MadeUp([0.5]), Speed(channels_last=True, compile=True): RuntimeError("no")})
    )
    assert "channels_last" in text
    assert "failed: RuntimeError: no" in text
    assert "0.005" in text
    assert "0.5" in text
    assert text.endswith("chosen: channels_last")
    assert "inf" not in text
