"""Where clients of hosted evaluations ask: the list, one evaluation, and what exporters ask before they start."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calibration import evals
from labeling.errors import NotFound, Refused


@extend_schema(exclude=True)
class GetEvals(APIView):
    """`GET /sdk/api/v1/get-evals/`: what can be run, with the inputs that it needs."""

    scope = "read"

    def get(self, request: Request) -> Response:
        return Response({"status": True, "result": evals.listing()})


@extend_schema(exclude=True)
class NewEval(APIView):
    """`POST /sdk/api/v1/new-eval/`: the answer of a pinned version to the texts in `inputs`, at once."""

    scope = "read"

    def post(self, request: Request) -> Response:
        asked = _body(request)
        name = _text(asked, "eval_name")
        inputs = asked.get("inputs")
        if not isinstance(inputs, dict):
            raise Refused("missing_input", "inputs must be an object", field="inputs", status=400)
        shown = asked.get("custom_eval_name") or name
        found = evals.evaluate(name=name, inputs=inputs, model=str(asked.get("model") or ""))
        return Response({"status": True, "result": [{"evaluations": [one.as_dict(str(shown)) for one in found]}]})


@extend_schema(exclude=True)
class EvalByName(APIView):
    """Asked by `register(eval_tags=…)`: is this an evaluator of the house, and which inputs may be mapped to it?"""

    scope = "ingest"

    def post(self, request: Request) -> Response:
        name = _text(_body(request), "eval_template_name")
        try:
            classifier = evals.named(name)
        except NotFound:
            return Response({"status": True, "result": {"isUserEvalTemplate": False, "evalTemplate": None}})
        template = {"name": classifier.slug, "config": {"requiredKeys": list(evals.KEYS)}}
        return Response({"status": True, "result": {"isUserEvalTemplate": True, "evalTemplate": template}})


@extend_schema(exclude=True)
class EvalConfigExists(APIView):
    """Asked by `register(eval_tags=…)` too: no name is ever taken, since each trace carries its own configuration."""

    scope = "ingest"

    def post(self, request: Request) -> Response:
        _body(request)
        return Response({"status": True, "result": {"exists": False}})


def _body(request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise Refused("bad_request", "send a JSON object", status=400)
    return request.data


def _text(body: dict[str, Any], field: str) -> str:
    found = body.get(field)
    if not isinstance(found, str) or not found.strip():
        raise Refused("missing_field", f"{field} is missing", field=field, status=400)
    return found.strip()
