"""Addresses of calibration: pages first, then the API."""

from __future__ import annotations

from django.urls import URLPattern, path

from calibration.views import overview

pages: list[URLPattern] = [
    path("", overview.home, name="home"),
]

api: list[URLPattern] = []
