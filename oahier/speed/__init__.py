"""Precision, memory layout and compilation of a training: choice, trial, and callback."""

from oahier.speed.choice import Speed
from oahier.speed.selection import TrialError, fastest
from oahier.speed.setting import SpeedSetting, tried_before
from oahier.speed.table import Row, Trial

__all__ = ["Row", "Speed", "SpeedSetting", "Trial", "TrialError", "fastest", "tried_before"]
