"""`make bench [NAMES]`: run the benchmarks and print them as one table of ratios."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys

import django

import bench

NOT_BENCHMARKS = {"measure", "__main__"}


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cxlab.settings")
    django.setup()
    wanted = set(sys.argv[1:])
    print("| what | ours | other | unit | against | ratio | goal |\n| --- | --- | --- | --- | --- | --- | --- |")
    for info in pkgutil.iter_modules(bench.__path__):
        if info.name in NOT_BENCHMARKS or (wanted and info.name not in wanted):
            continue
        module = importlib.import_module(f"bench.{info.name}")
        if not hasattr(module, "run"):
            continue  # simulations have their own command
        for measure in module.run():
            other = "–" if measure.other is None else _figure(measure.other)
            ratio = "–" if measure.ratio is None else f"{measure.ratio:.3g}"
            print(
                f"| {measure.name} | {_figure(measure.ours)} | {other} | {measure.unit} | {measure.against} | {ratio} "
                f"| {measure.goal} |",
                flush=True,
            )
    return 0


def _figure(value: float) -> str:
    """Counts to the last digit, measures to the fourth."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
