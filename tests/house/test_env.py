"""The environment is parsed once and refused loudly."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxlab import env


def read(tmp_path: Path, **given: str) -> env.Environment:
    return env.read({"CXLAB_VAR": str(tmp_path), **given}, root=tmp_path)


def test_it_works_with_nothing_set(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.database["ENGINE"] == "django.db.backends.sqlite3"
    assert found.broker_url is None
    assert not found.debug


def test_the_secret_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first = read(tmp_path).secret_key
    assert len(first) >= 50
    assert read(tmp_path).secret_key == first
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0


def test_writers_queue_on_sqlite(tmp_path: Path) -> None:
    options = read(tmp_path).database["OPTIONS"]
    assert isinstance(options, dict)
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in options["init_command"]


def test_a_postgres_url_is_taken_apart(tmp_path: Path) -> None:
    found = read(tmp_path, DATABASE_URL="postgres://ann:s3cret@db:5433/cx").database
    assert (found["HOST"], found["PORT"], found["NAME"], found["USER"]) == ("db", 5433, "cx", "ann")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://db/cx"),
        ("CELERY_BROKER_URL", "http://cache"),
        ("SECRET_KEY", "short"),
        ("DEBUG", "perhaps"),
        ("ALLOWED_HOSTS", " , "),
    ],
)
def test_what_cannot_be_meant_stops_the_start_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SystemExit, match=name):
        read(tmp_path, **{name: value})
