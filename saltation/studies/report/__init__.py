"""Pages of results: each a file that needs no other, made of what is in a study's folder."""

from saltation.studies.report.blocks import Column, Grid, in_words
from saltation.studies.report.page import write_page
from saltation.studies.report.study import REPORT, write_report

__all__ = ["REPORT", "Column", "Grid", "in_words", "write_page", "write_report"]
