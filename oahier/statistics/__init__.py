"""Paired statistics of predictions: intervals over knees and seeds, classical tests, files of predictions."""

from oahier.statistics.auc_tests import AUCTest, paired_auc_test, unpaired_auc_test
from oahier.statistics.bowker import bowker
from oahier.statistics.clustered_auc import clustered_auc
from oahier.statistics.comparison import compare_predictions
from oahier.statistics.correction import adjust_comparisons, adjust_p_values
from oahier.statistics.delong import delong
from oahier.statistics.margins import parse_margins
from oahier.statistics.mcnemar import mcnemar
from oahier.statistics.paired import paired_difference, paired_statistic, summarise_values
from oahier.statistics.predictions import Predictions, parse_predictions, read_predictions
from oahier.statistics.published import Bootstrap
from oahier.statistics.sentences import sentences
from oahier.statistics.stuart_maxwell import marginal_homogeneity
from oahier.statistics.study_size import Variances, pilot_variances, stated_variances
from oahier.statistics.summaries import summarise_predictions, summarise_rows
from oahier.statistics.tables import Comparison, Summary, write_table

__all__ = [
    "AUCTest",
    "Bootstrap",
    "Comparison",
    "Predictions",
    "Summary",
    "Variances",
    "adjust_comparisons",
    "adjust_p_values",
    "bowker",
    "clustered_auc",
    "compare_predictions",
    "delong",
    "marginal_homogeneity",
    "mcnemar",
    "paired_auc_test",
    "paired_difference",
    "paired_statistic",
    "parse_margins",
    "parse_predictions",
    "pilot_variances",
    "read_predictions",
    "sentences",
    "stated_variances",
    "summarise_predictions",
    "summarise_rows",
    "summarise_values",
    "unpaired_auc_test",
    "write_table",
]
