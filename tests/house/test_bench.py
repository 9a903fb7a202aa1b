"""The benchmarks run seldom: that each still fits the code is seen here."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import bench


@pytest.mark.parametrize(
    "name", [info.name for info in pkgutil.iter_modules(bench.__path__) if info.name != "__main__"]
)
def test_a_benchmark_finds_all_that_it_names(name: str) -> None:
    module = importlib.import_module(f"bench.{name}")
    assert module.__doc__
