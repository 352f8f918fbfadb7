"""Follow-up visits of knees: pairs, events, and how a score changes with time."""

from oahier.visits.courses import Visits
from oahier.visits.findings import Finding
from oahier.visits.follow_up import event_months, event_within
from oahier.visits.outcomes import change_auc, progression_auc, within_grade
from oahier.visits.response import response_mean, response_means
from oahier.visits.slopes import Slopes, slopes

__all__ = [
    "Finding",
    "Slopes",
    "Visits",
    "change_auc",
    "event_months",
    "event_within",
    "progression_auc",
    "response_mean",
    "response_means",
    "slopes",
    "within_grade",
]
