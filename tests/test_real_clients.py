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
LANGCHAIN_ASK = """
from langchain_openai import ChatOpenAI
# This client overwrites the context's metadata on spans of models; those of the run's configuration stay.
told = {"metadata": {"channel": "chat", "cohort": "smb"}}
ChatOpenAI(model="m", base_url=os.environ["JUDGE"], api_key="none").invoke("Where is it?", config=told)
"""
WITH_CONTEXT = """
with using_attributes(session_id="s1", user_id="cu-1", metadata={"channel": "chat", "cohort": "smb"}):
"""


def script(setup: str, ask: str) -> str:
    """A client's program: set up, ask once within the context, send."""
    asked = "\n".join("    " + line for line in ask.strip().splitlines())
    return setup.strip() + WITH_CONTEXT + asked + "\nprovider.force_flush(); provider.shutdown()\n"


TRACEAI = """
import os
from fi_instrumentation import register, using_attributes
from fi_instrumentation.fi_types import ProjectType
from traceai_{module} import {name}Instrumentor
provider = register(project_type=ProjectType.OBSERVE, project_name="real", set_global_tracer_provider=False)
{name}Instrumentor().instrument(tracer_provider=provider)
"""
OPENINFERENCE = """
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
"""
CLIENTS = {
    "traceai-openai": script(TRACEAI.format(module="openai", name="OpenAI"), ASK),
    "traceai-langchain": script(TRACEAI.format(module="langchain", name="LangChain"), LANGCHAIN_ASK),
    "openinference": script(OPENINFERENCE, ASK),
}
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


def run(which: str, program: str, **environment: str) -> str:
    python = ROOT / ".venv-clients" / which / "bin" / "python"
    if not python.exists():
        pytest.skip("no public clients here: `make clients` installs them from the package index")
    given = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment}
    done = subprocess.run([python, "-c", program], env=given, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def secret(*scopes: str) -> str:
    return tokens.make(user=make_user(role="engineer"), name="client", scopes=list(scopes))[1]


@pytest.mark.parametrize("client", CLIENTS)
def test_an_exporter_gives_conversations(live_server: Any, server: JudgeServer, client: str) -> None:
    key = secret("ingest")
    if client == "openinference":
        headers = f"authorization=Bearer%20{key}"
        where = {"OTEL_EXPORTER_OTLP_ENDPOINT": live_server.url, "OTEL_EXPORTER_OTLP_HEADERS": headers}
    else:
        where = {"FI_BASE_URL": live_server.url, "FI_API_KEY": key, "FI_SECRET_KEY": "unused"}
    run("otel", CLIENTS[client], JUDGE=server.base_url, **where)
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
