"""Trials of speed whose steps are real and whose times are made up."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import oahier.speed.selection as room
from oahier.speed.choice import Speed
from oahier.speed.copies import TrainingCopy


def layout_wins(monkeypatch: pytest.MonkeyPatch) -> list[Speed]:
    """Let channels_last take half of eager's time and compile nothing; the candidates that are then made."""
    made: list[Speed] = []

    class Pretended(TrainingCopy):
        def __init__(self, model: Any, speed: Speed, *arguments: Any) -> None:
            made.append(speed)
            super().__init__(model, speed, *arguments)
            self._pretended = 5.0 if speed.channels_last and not speed.precision else 10.0

        def step(self, index: int) -> float:
            super().step(index)
            return self._pretended

    monkeypatch.setattr(room, "TrainingCopy", Pretended)
    monkeypatch.setattr(torch, "compile", lambda function: function)
    return made
