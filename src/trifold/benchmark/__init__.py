"""Trifold beside what a person would use instead: the same work in turns, each side in a process of its own."""

from trifold.benchmark.catalogue import NAMES, find_benchmark
from trifold.benchmark.page import as_data, as_table, update_page
from trifold.benchmark.turns import Result, measure
from trifold.benchmark.work import Benchmark, Measured, Side, Work

__all__ = ["NAMES", "Benchmark", "Measured", "Result", "Side", "Work", "as_data", "as_table", "find_benchmark", "measure",
           "update_page"]  # fmt: skip
