"""Unmodified public clients against a running server, by base URL alone.

They want other versions of what cxlab pins, and live in environments of their own that `make clients` fills; without it,
these tests are skipped.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from calibration import tracing
from labeling import tokens
from labeling.models import Conversation
from tests.calibration.judge_server import JudgeServer, judge_server
from tests.make import make_signal, make_user, make_version

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parent.parent
ASK = """
import openai
client = openai.OpenAI(base_url=os.environ["JUDGE"], api_key="none")
client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Where is it?"}])
"""
TRACEAI = (
    """
import os
from fi_instrumentation import register, using_attributes
from fi_instrumentation.fi_types import ProjectType
from traceai_openai import OpenAIInstrumentor
provider = register(project_type=ProjectType.OBSERVE, project_name="real", set_global_tracer_provider=False)
OpenAIInstrumentor().instrument(tracer_provider=provider)
with using_attributes(session_id="s1", user_id="cu-1", metadata={"channel": "chat", "cohort": "smb"}):
"""
    + "\n".join("    " + line for line in ASK.strip().splitlines())
    + "\nprovider.force_flush(); provider.shutdown()\n"
)
OPENINFERENCE = (
    """
import os
from openinference.instrumentation import using_attributes
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider(resource=Resource.create({"service.name": "real"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
OpenAIInstrumentor().instrument(tracer_provider=provider)
with using_attributes(session_id="s1", user_id="cu-1", metadata={"channel": "chat", "cohort": "smb"}):
"""
    + "\n".join("    " + line for line in ASK.strip().splitlines())
    + "\nprovider.force_flush(); provider.shutdown()\n"
)
EVALS = """
import os
from fi.evals import Evaluator
found = Evaluator().evaluate(
    eval_templates="tone", inputs={"output": "Thank you, that was great!"}, model_name="turing_flash"
)
print("OUTPUT", found.eval_results[0].output)
"""


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as running:
        yield running


def run(which: str, script: str, **environment: str) -> str:
    python = ROOT / ".venv-clients" / which / "bin" / "python"
    if not python.exists():
        pytest.skip("no public clients here: `make clients` installs them from the package index")
    given = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment}
    done = subprocess.run([python, "-c", script], env=given, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def secret(*scopes: str) -> str:
    return tokens.make(user=make_user(role="engineer"), name="client", scopes=list(scopes))[1]


@pytest.mark.parametrize("client", ["traceai", "openinference"])
def test_an_exporter_gives_conversations(live_server: Any, server: JudgeServer, client: str) -> None:
    key = secret("ingest")
    if client == "traceai":
        run("otel", TRACEAI, FI_BASE_URL=live_server.url, FI_API_KEY=key, FI_SECRET_KEY="unused", JUDGE=server.base_url)
    else:
        headers = f"authorization=Bearer%20{key}"
        run("otel", OPENINFERENCE, OTEL_EXPORTER_OTLP_ENDPOINT=live_server.url, OTEL_EXPORTER_OTLP_HEADERS=headers,
            JUDGE=server.base_url)  # fmt: skip
    tracing.work_pending()
    [found] = Conversation.objects.all()
    assert (found.external_id, found.channel, found.cohort, found.customer) == ("real:s1", "chat", "smb", "cu-1")
    assert [turn["role"] for turn in found.turns] == ["customer", "agent"]
    assert found.turns[0]["text"] == "Where is it?"


def test_an_evaluations_client_gets_labels(live_server: Any) -> None:
    make_version(make_signal("tone-signal"), "3.3.2", classifier="tone", kind="vader")
    key = secret("read")
    told = run("evals", EVALS, FI_BASE_URL=live_server.url, FI_API_KEY=key, FI_SECRET_KEY="unused")
    assert "OUTPUT positive" in told
