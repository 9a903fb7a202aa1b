"""Tables of simulations, put between the markers of the page that explains them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def write(page: str, name: str, lines: Iterable[str]) -> None:
    """Replace what stands between `<!-- name: begin … -->` and `<!-- name: end -->` of a page in docs/."""
    path = DOCS / page
    before, rest = path.read_text(encoding="utf-8").split(f"<!-- {name}: begin", 1)
    head, rest = rest.split("-->", 1)
    _, after = rest.split(f"<!-- {name}: end -->", 1)
    text = "\n".join(lines).strip()
    path.write_text(f"{before}<!-- {name}: begin{head}-->\n{text}\n<!-- {name}: end -->{after}", encoding="utf-8")
