"""Studies: a grid of configurations, run to paired evidence and a report."""

from oahier.study.cell_run import run_cell
from oahier.study.cells import Cell
from oahier.study.overrides import PlanError
from oahier.study.plan import Plan, read_plan
from oahier.study.results import Study, read_study
from oahier.study.runner import prepare_study, run_study
from oahier.study.status import status_table

__all__ = [
    "Cell",
    "Plan",
    "PlanError",
    "Study",
    "prepare_study",
    "read_plan",
    "read_study",
    "run_cell",
    "run_study",
    "status_table",
]
