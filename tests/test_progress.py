"""The progress bar: on a terminal only, on standard error, and never in the way of the items."""

from __future__ import annotations

import pytest

from oahier.progress import bar, portion, progress, steps, telling


@pytest.mark.parametrize(("total", "end"), [(10, "10/10"), (None, "10/?")])
def test_the_bar_counts_the_items_on_a_terminal(
    total: int | None, end: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert list(progress(range(10), total, "Reading knees")) == list(range(10))
    out, err = capsys.readouterr()
    assert not out
    assert "Reading knees" in err
    assert end in err


def test_what_was_done_before_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    with bar("Extracting", 10, done=4) as advance:
        advance(0.5)
        advance(1.5)
    assert "6/10" in capsys.readouterr().err


@pytest.mark.parametrize(("terminal", "show", "total"), [("0", True, 3), ("1", False, 3), ("1", True, 0)])
def test_no_bar_where_nobody_looks(
    terminal: str, show: bool, total: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if terminal == "1":
        monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(progress(range(total), total, "Reading", show=show)) == list(range(total))
    assert capsys.readouterr() == ("", "")


def test_shares_of_loops_inside_portions_are_told() -> None:
    told: list[float] = []
    assert list(steps("ab")) == ["a", "b"], "nobody listens"
    with telling(told.append):
        with portion(0.0, 0.5):
            for _ in steps(range(2)):
                pass
        with portion(0.5, 1.0), portion(0.5, 1.0):
            list(steps(iter("xy"), 2))
        list(steps(iter("xy")))
    assert told == [0.25, 0.5, 0.875, 1.0]
    list(steps("ab"))
    assert len(told) == 4
