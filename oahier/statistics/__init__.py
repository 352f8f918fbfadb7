"""Paired statistics of predictions: bootstrap, classical tests, corrections, files of predictions."""

from oahier.statistics.comparison import compare_predictions
from oahier.statistics.correction import adjust_comparisons, adjust_p_values
from oahier.statistics.delong import delong
from oahier.statistics.mcnemar import mcnemar
from oahier.statistics.paired import paired_difference, paired_statistic, summarise_values
from oahier.statistics.predictions import Predictions, parse_predictions, read_predictions
from oahier.statistics.stuart_maxwell import marginal_homogeneity
from oahier.statistics.summaries import summarise_predictions, summarise_rows
from oahier.statistics.tables import Comparison, Summary, write_table

__all__ = [
    "Comparison",
    "Predictions",
    "Summary",
    "adjust_comparisons",
    "adjust_p_values",
    "compare_predictions",
    "delong",
    "marginal_homogeneity",
    "mcnemar",
    "paired_difference",
    "paired_statistic",
    "parse_predictions",
    "read_predictions",
    "summarise_predictions",
    "summarise_rows",
    "summarise_values",
    "write_table",
]
