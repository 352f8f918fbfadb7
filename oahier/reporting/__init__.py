"""Reports on predictions that anyone wrote: clinical evaluation and reporting checklists."""

from oahier.reporting.change import ChangeReport, evaluate_change, write_change_report
from oahier.reporting.clinical import evaluate_clinically, write_clinical_report
from oahier.reporting.clinical_results import ClinicalReport

__all__ = [
    "ChangeReport",
    "ClinicalReport",
    "evaluate_change",
    "evaluate_clinically",
    "write_change_report",
    "write_clinical_report",
]
