"""Signed records of gates: what was decided, in a form that shows whether somebody changed it since."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any

from django.utils.crypto import salted_hmac

from calibration.models import GateRun

SALT = "cxlab.gate-record"


def record(run: GateRun) -> dict[str, Any]:
    """The decision with everything that it rests on, signed with the deployment's secret key (HMAC-SHA256)."""
    content = {"gate": run.id, "decided_at": run.created_at.isoformat(), "policy": run.policy, **run.document}
    return content | {"signature": _signature(content)}


def genuine(given: Mapping[str, Any]) -> bool:
    """Whether a record was signed here and is unchanged."""
    content = {name: value for name, value in given.items() if name != "signature"}
    return hmac.compare_digest(_signature(content).encode(), str(given.get("signature", "")).encode())


def _signature(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return "sha256=" + salted_hmac(SALT, text, algorithm="sha256").hexdigest()
