"""Clinical evaluation of predictions: calibration, decisions, net benefit, subgroups."""

from oahier.clinical.calibration import Calibration, Estimate, calibration, calibration_index, smooth_curve
from oahier.clinical.calibrators import Calibrator, Isotonic, Temperature
from oahier.clinical.decisions import Decisions, HeadDecision
from oahier.clinical.events import Event, events_of
from oahier.clinical.net_benefit import DecisionCurve, decision_curve
from oahier.clinical.operating_point import OperatingPoint, sensitivity_at
from oahier.clinical.subgroups import Subgroup, subgroups
from oahier.clinical.thresholds import FixedSpecificity, MostAccurate, ThresholdRule, Youden

__all__ = [
    "Calibration",
    "Calibrator",
    "DecisionCurve",
    "Decisions",
    "Estimate",
    "Event",
    "FixedSpecificity",
    "HeadDecision",
    "Isotonic",
    "MostAccurate",
    "OperatingPoint",
    "Subgroup",
    "Temperature",
    "ThresholdRule",
    "Youden",
    "calibration",
    "calibration_index",
    "decision_curve",
    "events_of",
    "sensitivity_at",
    "smooth_curve",
    "subgroups",
]
