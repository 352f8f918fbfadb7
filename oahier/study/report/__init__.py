"""The report of a study: a page that opens offline, tables for papers, and figures, from files alone."""

from oahier.study.report.write import write_report

__all__ = ["write_report"]
