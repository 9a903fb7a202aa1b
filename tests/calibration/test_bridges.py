"""Where another version takes over: what that alone did, by conversations that both versions scored."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client

from calibration.moves import bridges
from labeling import tokens
from tests.calibration.test_moves import two_months, upgraded
from tests.make import make_user

pytestmark = pytest.mark.django_db
ADDRESS = "/signals/sentiment/trend/versions/"


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def test_it_works() -> None:
    signal, both, moved = upgraded(3)
    (change,) = bridges.read(signal=signal)["changes"]
    assert (change["from"], change["to"], change["since"]) == ("v1", "v2", "2026-03-02")
    assert change["period"] == "2026-03-02..2026-03-29" and change["conversations"] == both
    found = change["moved"]
    assert 0.08 < found["low"] < moved < found["high"] and found["high"] - found["low"] < 0.1


def test_where_both_scored_everything_the_value_is_what_was_counted() -> None:
    """But for the two pseudo-labels that each column is drawn to the others by."""
    signal, _, moved = upgraded(1)
    assert bridges.read(signal=signal)["changes"][0]["moved"]["value"] == pytest.approx(moved, abs=1e-3)
    assert bridges.read(signal=signal, value="positive")["changes"][0]["moved"]["value"] == pytest.approx(0, abs=1e-3)
    # Neutral scores 0 and negative -1.
    assert bridges.read(signal=signal, value="mean")["changes"][0]["moved"]["value"] == pytest.approx(-moved, abs=1e-3)


def test_a_change_without_a_bridge_says_so(client: Client) -> None:
    signal, both, _ = upgraded(12)
    (change,) = bridges.read(signal=signal)["changes"]
    assert change["conversations"] == both < 100 and change["moved"] == {"value": None, "reason": "no_bridge"}
    client.force_login(make_user(role="engineer"))
    assert "Not bridged: too few conversations were scored by both" in client.get(ADDRESS).content.decode()


def test_the_page(client: Client) -> None:
    upgraded(3)
    assert client.get(ADDRESS)["Location"].startswith("/sign-in/")
    client.force_login(make_user("otto"))
    assert client.get(ADDRESS).status_code == 403
    client.force_login(make_user(role="engineer"))
    page = client.get(ADDRESS).content.decode()
    assert "The change of version alone moves “negative” by +" in page and "<h1" in page
    assert "from=2026-02-02..2026-03-01&amp;to=2026-03-02..2026-03-29" in page
    fragment = client.get(ADDRESS, headers={"HX-Request": "true"}).content.decode()
    assert "by +" in fragment and "<h1" not in fragment
    assert (
        f'hx-get="{ADDRESS}?classifier=judge&amp;value=negative"'
        in client.get("/signals/sentiment/trend/").content.decode()
    )
    assert client.get(f"{ADDRESS}?value=angry").status_code == 422


def test_one_version_has_no_changes(client: Client) -> None:
    two_months()
    client.force_login(make_user(role="engineer"))
    assert "One version was in service all the time." in client.get(ADDRESS).content.decode()
    assert ADDRESS not in client.get("/signals/sentiment/trend/").content.decode()


def test_over_the_api(client: Client) -> None:
    signal, _, _ = upgraded(3)
    address = "/api/v1/trends/versions/?signal=sentiment"
    assert client.get(address).status_code == 401
    for role, scope, status in (("annotator", "label", 403), ("reviewer", "read", 200)):
        _, secret = tokens.make(user=make_user(role=role), name="x", scopes=[scope])
        headers = {"Authorization": f"Bearer {secret}"}
        assert client.get(address, headers=headers).status_code == status
    assert client.get(address, headers=headers).json() == bridges.read(signal=signal)
