"""`make bench [NAMES]`: run the benchmarks and print them as one table of ratios."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable

import django

import bench
from bench.measure import Measure

NOT_BENCHMARKS = {"measure", "__main__"}


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cxlab.settings")
    django.setup()
    wanted = set(sys.argv[1:])
    names = [info.name for info in pkgutil.iter_modules(bench.__path__) if info.name not in NOT_BENCHMARKS]
    asked = [importlib.import_module(f"bench.{name}") for name in names if not wanted or name in wanted]
    if any(hasattr(module, "run") for module in asked):
        print("| what | ours | other | unit | against | ratio | goal |\n| --- | --- | --- | --- | --- | --- | --- |")
    for module in asked:
        if hasattr(module, "run"):
            _table(module.run())
        elif wanted:  # simulations take long: by name only
            module.main()
    return 0


def _table(measures: Iterable[Measure]) -> None:
    for measure in measures:
        other = "–" if measure.other is None else _figure(measure.other)
        ratio = "–" if measure.ratio is None else f"{measure.ratio:.3g}"
        print(
            f"| {measure.name} | {_figure(measure.ours)} | {other} | {measure.unit} | {measure.against} | {ratio} "
            f"| {measure.goal} |",
            flush=True,
        )


def _figure(value: float) -> str:
    """Counts to the last digit, measures to the fourth."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
