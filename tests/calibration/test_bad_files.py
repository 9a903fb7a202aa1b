"""Every defective file is refused as a whole, by command and by API, with line and field; nothing of it is stored."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from calibration.models import Classifier, Outcome, Prediction, PredictionRollup
from labeling import tokens
from labeling.models import Conversation, Label, User
from tests.conftest import SHARED
from tests.make import make_user

pytestmark = pytest.mark.django_db

EXPECTED: dict[str, dict[str, Any]] = (
    json.loads((SHARED / "data/bad/expected.json").read_text()) if SHARED.is_dir() else {}
)


@pytest.fixture
def bad(shared: Path) -> Path:
    """The folder of defective files, with its small valid set loaded."""
    base = shared / "data/bad/base"
    quiet = {"stdout": io.StringIO(), "stderr": io.StringIO()}
    call_command("signals", "apply", str(base / "signals.yaml"), **quiet)
    call_command("classifiers", "apply", str(base / "classifiers.json"), **quiet)
    call_command("load", "conversations", str(base / "conversations.jsonl"), **quiet)
    return base.parent


def stored() -> dict[str, int]:
    models = (Conversation, Label, Prediction, PredictionRollup, Outcome, Classifier, User)
    return {model.__name__: model.objects.count() for model in models}


def says(message: str, expected: dict[str, Any]) -> bool:
    return any(word.lower() in message.lower() for word in expected["reason_contains"])


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_command_refuses_it(name: str, bad: Path) -> None:
    expected, before = EXPECTED[name], stored()
    errors = io.StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("load", expected["kind"], str(bad / name), stdout=io.StringIO(), stderr=errors)
    assert stopped.value.code == 1
    place = str(bad / name) if expected["line"] is None else f"{bad / name}:{expected['line']}"
    field = f" {expected['field']}:" if expected["field"] else ""
    lines = [line for line in errors.getvalue().splitlines() if line.startswith(f"{place}:{field}")]
    assert any(says(line, expected) for line in lines), errors.getvalue()
    assert stored() == before


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_api_refuses_it(name: str, bad: Path, client: Client) -> None:
    expected = EXPECTED[name]
    _, secret = tokens.make(user=make_user(role="engineer"), name="pipeline", scopes=["ingest"])
    before = stored()
    response = client.post(
        f"/api/v1/{expected['kind']}/bulk/",
        data=(bad / name).read_bytes(),
        content_type="application/x-ndjson",
        headers={"Authorization": f"Bearer {secret}"} | ({"Content-Encoding": "gzip"} if name.endswith(".gz") else {}),
    )
    assert response.status_code == 422
    assert response["Content-Type"] == "application/problem+json"
    found = [
        row for row in response.json()["errors"] if (row["line"], row["field"]) == (expected["line"], expected["field"])
    ]
    assert any(says(row["message"], expected) for row in found), response.json()
    assert stored() == before


@pytest.mark.skipif(not EXPECTED, reason="no shared data beside the checkout")
def test_the_valid_set_beside_them_loads(bad: Path) -> None:
    for kind in ("labels", "predictions"):
        call_command("load", kind, str(bad / f"base/{kind}.jsonl"), stdout=io.StringIO(), stderr=io.StringIO())
    assert (Label.objects.count(), Prediction.objects.count()) == (11, 5)
