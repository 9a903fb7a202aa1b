"""Every address of cxlab."""

from __future__ import annotations

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from calibration import urls as calibration
from cxlab import probes, schema
from labeling import urls as labeling

__all__ = ["handler404", "schema", "urlpatterns"]

urlpatterns = [
    *calibration.pages,
    *labeling.pages,
    *calibration.exporters,
    path("api/v1/", include(calibration.api + labeling.api)),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="api-schema"), name="api-docs"),
    path("healthz", probes.alive),
    path("readyz", probes.ready),
    path("metrics", probes.metrics),
]

handler404 = "cxlab.errors.not_found"
