"""Gold datasets over HTTP: freeze, read the card, pull the data."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django.db import transaction
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import generics, serializers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from labeling import access, exporting, gold, privacy
from labeling.errors import NotFound, Refused
from labeling.models import Dataset, DatasetVersion, Queue, Signal, User
from labeling.signals import SLUG


class DatasetVersionSerializer(serializers.ModelSerializer[DatasetVersion]):
    dataset: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    signal = serializers.CharField(source="dataset.signal.slug")
    parent: Any = serializers.IntegerField(source="parent.number", default=None)
    guideline_version = serializers.IntegerField(source="guideline.version", default=None)
    items: Any = serializers.IntegerField(source="item_count")
    unresolved = serializers.IntegerField(source="unresolved_count")
    labels = serializers.IntegerField(source="label_count")

    class Meta:
        model = DatasetVersion
        fields = (
            "dataset", "number", "signal", "sha256", "aggregation", "min_labels", "items", "unresolved", "labels", "parent",
            "guideline_version", "frozen_at", "card",
        )  # fmt: skip


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    signal: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    versions = serializers.SerializerMethodField()

    class Meta:
        model = Dataset
        fields = ("slug", "title", "signal", "versions")

    def get_versions(self, dataset: Dataset) -> list[int]:
        return sorted(version.number for version in dataset.versions.all() if version.frozen_at is not None)


class Datasets(generics.ListAPIView[Dataset]):
    """The gold datasets; POST names a new one for a signal."""

    scopes: ClassVar = {"GET": "read", "POST": "export"}
    serializer_class = DatasetSerializer
    queryset = Dataset.objects.select_related("signal").prefetch_related("versions").order_by("id")

    @extend_schema(request=OpenApiTypes.OBJECT, responses={201: DatasetSerializer})
    def post(self, request: Request) -> Response:
        body = _body(request)
        signal = _signal(body.get("signal"))
        by = request.user if isinstance(request.user, User) else None
        dataset = gold.found(
            slug=str(body.get("slug") or ""),
            title=str(body.get("title") or ""),
            signal=signal,
            created_by=by,
        )
        return Response(DatasetSerializer(dataset).data, status=201)


class Versions(generics.ListAPIView[DatasetVersion]):
    """The frozen versions of a dataset; POST freezes the next one."""

    scopes: ClassVar = {"GET": "read", "POST": "export"}
    serializer_class = DatasetVersionSerializer
    queryset = DatasetVersion.objects.none()

    def get_queryset(self) -> Any:
        versions = access.dataset(self.kwargs["slug"]).versions.filter(frozen_at__isnull=False)
        return versions.select_related("dataset__signal", "parent", "guideline").order_by("id")

    @extend_schema(
        request=OpenApiTypes.OBJECT,
        responses={
            201: DatasetVersionSerializer,
            409: OpenApiResponse(description="The dataset is gold of another signal"),
        },
    )
    def post(self, request: Request, slug: str) -> Response:
        body = _body(request)
        dataset = Dataset.objects.filter(slug=slug).select_related("signal").first()
        signal = _signal(body["signal"]) if body.get("signal") else dataset.signal if dataset else None
        if signal is None:
            raise NotFound("unknown_dataset", f"there is no dataset {slug!r}; name a signal to make it", field="signal")
        min_labels = body.get("min_labels", 1)
        if isinstance(min_labels, bool) or not isinstance(min_labels, int):
            raise Refused("bad_min_labels", "must be a whole number", field="min_labels")
        version = gold.freeze(
            dataset=slug,
            signal=signal,
            queues=_queues(body.get("queues", [])),
            aggregation=str(body.get("aggregation", "majority")),
            min_labels=min_labels,
            created_by=request.user if isinstance(request.user, User) else None,
            now=timezone.now(),
        )
        return Response(DatasetVersionSerializer(version).data, status=201)


class OneVersion(APIView):
    """The card of a frozen version."""

    scope = "read"

    @extend_schema(summary="Read the card of a version", responses=DatasetVersionSerializer)
    def get(self, request: Request, slug: str, number: int) -> Response:
        version = access.dataset_version(slug, number)
        response = Response(DatasetVersionSerializer(version).data)
        response["X-Dataset-SHA256"] = version.sha256
        return response


class AnyFormat(DefaultContentNegotiation):
    """`?format=` names the format of the data here, not a renderer of DRF's."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class Export(APIView):
    """A frozen version as a stream; with its ETag in If-None-Match the answer is 304."""

    scope = "export"
    content_negotiation_class = AnyFormat

    @extend_schema(
        summary="Pull a version",
        parameters=[
            OpenApiParameter("format", str, enum=list(exporting.STREAMED)),
            OpenApiParameter("originals", bool),
        ],
        responses={200: OpenApiTypes.BINARY, 304: OpenApiResponse(description="Not modified")},
    )
    def get(self, request: Request, slug: str, number: int) -> HttpResponseBase:
        """`originals=true` masks nothing, for those who may; that they read it is kept."""
        return download(
            request._request, access.dataset_version(slug, number), reader=cast(User, request.user), via="api"
        )


def download(request: Any, version: DatasetVersion, *, reader: User, via: str) -> HttpResponseBase:
    """A version in the format that the query asks for, streamed, with hash and tag; page and API share it."""
    name = request.GET.get("format", "jsonl")
    originals = privacy.wants_originals(request.GET)
    with transaction.atomic():  # what is refused was not read
        mask = privacy.mask_of(originals=originals, reader=reader, what=f"dataset {version}", via=via)
        chunks = exporting.stream(version=version, format=name, mask=mask)
    tag = exporting.etag(version=version, format=name, mask=mask)
    unchanged = get_conditional_response(request, etag=tag, response=None)
    response: HttpResponseBase
    if unchanged is not None:
        response = unchanged
    else:
        content_type, ending = exporting.STREAMED[name]
        response = (
            HttpResponse(content_type=content_type)
            if request.method == "HEAD"
            else StreamingHttpResponse(chunks, content_type=content_type)
        )
        filename = f"{version.dataset.slug}-{version.number}.{ending}"
        response["Content-Disposition"] = f'attachment; filename="{filename}"'
        if lost := exporting.NOT_CARRIED.get(name):
            response["X-Not-Carried"] = ", ".join(lost)
    response["ETag"] = tag
    response["X-Dataset-SHA256"] = version.sha256
    if mask.kinds:
        response["X-Dataset-Masked"] = ", ".join(mask.kinds)
    return response


def _body(request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise Refused("bad_body", "the body must be a JSON object")
    return request.data


def _signal(slug: Any) -> Signal:
    if slug is None:
        raise Refused("unknown_signal", "is required: the slug of a signal", field="signal")
    signal = Signal.objects.filter(slug=slug).first() if isinstance(slug, str) and SLUG.match(slug) else None
    if signal is None:
        raise Refused("unknown_signal", f"there is no signal {slug!r}", field="signal")
    return signal


def _queues(slugs: Any) -> list[Queue]:
    if not isinstance(slugs, list) or not all(isinstance(slug, str) for slug in slugs):
        raise Refused("bad_queues", "must be a list of queue names", field="queues")
    if "\0" in "".join(slugs):
        raise Refused("bad_queues", "has a NUL character", field="queues")
    found = {queue.slug: queue for queue in Queue.objects.filter(slug__in=slugs)}
    for slug in slugs:
        if slug not in found:
            raise Refused("unknown_queue", f"there is no queue {slug!r}", field="queues")
    return [found[slug] for slug in slugs]
