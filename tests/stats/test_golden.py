"""Every golden vector, one case each. A kind without a function fails: nothing is skipped in silence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.stats import golden_agreement, golden_moves  # noqa: F401 (they register their kinds)
from tests.stats.golden_kinds import KINDS, difference

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "golden" / "agreement_vectors.json"


def _files() -> list[Path]:
    named = [Path(part) for part in os.environ.get("CXLAB_GOLDEN", "").split(":") if part]
    return named or ([DEFAULT] if DEFAULT.exists() else [])


def _vectors() -> list[Any]:
    cases: list[Any] = []
    for file in _files():
        document = json.loads(file.read_text())
        cases += [pytest.param(v, document["tolerance"], id=f"{v['kind']}-{v['name']}") for v in document["vectors"]]
    return cases or [pytest.param(None, 0.0, marks=pytest.mark.skip(reason=f"no golden values at {DEFAULT}"))]


@pytest.mark.parametrize(("vector", "tolerance"), _vectors())
def test_golden_vector(vector: dict[str, Any], tolerance: float) -> None:
    function = KINDS.get(vector["kind"])
    assert function is not None, f"no function for golden kind {vector['kind']!r}"
    answers = function(vector["input"])
    missing = sorted(set(vector["expected"]) - set(answers))
    assert not missing, f"not computed: {missing}"
    wrong = {key: difference(answers[key], value, tolerance) for key, value in vector["expected"].items()}
    assert not {key: text for key, text in wrong.items() if text}
