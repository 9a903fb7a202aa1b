"""What every test shares."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(autouse=True)
def plain_static_files() -> None:
    """Pages in tests name static files as they lie there: nothing has to be collected first."""
    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}


@pytest.fixture
def shared() -> Path:
    """The folder of real data and golden values beside the checkout; its tests are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data beside the checkout ({SHARED.name}/)")
    return SHARED


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("postgres") and connection.vendor != "postgresql":
        pytest.skip("needs PostgreSQL: runs in the second part of `make test`")
