"""What every test shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.db import connection
from django.db.backends.sqlite3.base import DatabaseWrapper

from labeling import triggers

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(autouse=True)
def plain_static_files() -> None:
    """Pages in tests name static files as they lie there: nothing has to be collected first."""
    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}


@pytest.fixture(autouse=True, scope="session")
def tables_can_be_emptied() -> Iterator[None]:
    """Tests that commit are followed by a flush, which on SQLite is a DELETE: the triggers step aside for it."""
    operations = DatabaseWrapper.ops_class
    plain = operations.sql_flush

    def sql_flush(self: Any, *args: Any, **kwargs: Any) -> list[str]:
        return [*triggers.down("sqlite"), *plain(self, *args, **kwargs), *triggers.up("sqlite")]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "sql_flush", sql_flush)
        yield


@pytest.fixture
def shared() -> Path:
    """The folder of real data and golden values beside the checkout; its tests are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data beside the checkout ({SHARED.name}/)")
    return SHARED


def pytest_configure() -> None:
    """Passwords of people made up for a test are hashed quickly: the real hash is slow on purpose, and most tests make people."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # The laws are tried on the same examples in every run, and how long one takes says nothing about them.
    slow = hypothesis.HealthCheck.too_slow
    hypothesis.settings.register_profile("cxlab", deadline=None, derandomize=True, suppress_health_check=[slow])
    hypothesis.settings.load_profile("cxlab")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("postgres") and connection.vendor != "postgresql":
        pytest.skip("needs PostgreSQL: runs in the second part of `make test`")
