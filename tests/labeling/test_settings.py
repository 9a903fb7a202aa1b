"""Settings: signals, guidelines, people, tokens, one's password; the commands user and token."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from labeling import guidelines, people, tokens
from labeling.errors import Conflict, Forbidden, Refused
from labeling.management.commands.user import piped_line
from labeling.models import ApiToken, Guideline, Signal, User
from labeling.templatetags.prose import prose
from tests.make import make_conversation, make_label, make_signal, make_user

pytestmark = pytest.mark.django_db


def signed_in(client: Client, role: str, name: str | None = None) -> User:
    user = make_user(name, role=role)
    client.force_login(user)
    return user


def signal_fields(**kw: Any) -> dict[str, Any]:
    return {
        "title": "Mood", "slug": "mood", "scale": "nominal", "unit": "conversation", "statistic": "kappa",
        "at_least": "0.7", "min": "", "max": "", "guideline": "Look twice.",
        "category-value": ["good", "bad", "", ""], "category-label": ["Good", "Bad", "", ""],
        "category-key": ["1", "2", "", ""], "category-score": ["1", "-1", "", ""],
    } | kw  # fmt: skip


def test_it_works(client: Client) -> None:
    ada = signed_in(client, "engineer")
    response = client.post("/settings/signals/new/", signal_fields())
    assert (response.status_code, response["Location"]) == (302, "/settings/signals/")
    signal = Signal.objects.get(slug="mood")
    assert [(row.value, row.key, row.score) for row in signal.categories.all()] == [
        ("good", "1", 1.0),
        ("bad", "2", -1),
    ]
    assert (signal.trust_at_least, signal.guidelines.get().created_by) == (0.7, ada)
    assert "Mood" in client.get("/settings/signals/").text


PAGES = [
    ("/settings/signals/", "reviewer"),
    ("/settings/signals/new/", "engineer"),
    ("/settings/signals/text/", "engineer"),
    ("/settings/signals/sentiment/edit/", "engineer"),
    ("/settings/signals/sentiment/guideline/", "reviewer"),
    ("/settings/people/", "admin"),
    ("/settings/tokens/", "annotator"),
    ("/settings/profile/", "annotator"),
    ("/queues/", "engineer"),
    ("/queues/new/", "engineer"),
    ("/review/", "reviewer"),
    ("/review/signal/sentiment/", "reviewer"),
]


@pytest.mark.parametrize(("address", "role"), PAGES)
def test_pages_are_for_their_role_and_above(client: Client, address: str, role: str) -> None:
    make_signal()
    assert client.get(address)["Location"].startswith("/sign-in/")
    ranks = list(User.RANK)
    client.force_login(make_user(role=role))
    assert client.get(address).status_code == 200
    if role != "annotator":
        client.force_login(make_user(role=ranks[ranks.index(role) - 1]))
        assert client.get(address).status_code == 403


def test_what_is_wrong_with_a_signal_stands_by_its_field_and_nothing_is_lost(client: Client) -> None:
    signed_in(client, "engineer")
    wrong = signal_fields(slug="a b", **{"category-key": ["1", "1", "", ""]})
    response = client.post("/settings/signals/new/", wrong)
    assert response.status_code == 422
    assert "<b>slug</b>: may have letters" in response.text
    assert "key &#x27;1&#x27; stands twice" in response.text
    assert 'value="good"' in response.text
    assert not Signal.objects.exists()
    assert client.post("/settings/signals/new/", signal_fields(at_least="high")).status_code == 422


def test_a_category_that_labels_use_cannot_go(client: Client) -> None:
    signed_in(client, "engineer")
    signal = make_signal()
    make_label(make_conversation(), signal, make_user(), "neutral")
    fields = signal_fields(
        title="Sentiment", scale="ordinal", **{"category-value": ["negative", "positive"], "category-label": ["", ""],
        "category-key": ["", ""], "category-score": ["", ""]},
    )  # fmt: skip
    response = client.post("/settings/signals/sentiment/edit/", fields)
    assert response.status_code == 422
    assert "is used by labels or gold and cannot go" in response.text
    assert signal.categories.count() == 3


def test_signals_from_text_name_line_and_field(client: Client) -> None:
    signed_in(client, "engineer")
    response = client.post("/settings/signals/text/", {"text": "- slug: x\n  scale: odd\n"})
    assert response.status_code == 422
    assert "line 1: <b>scale</b>" in response.text
    assert client.post("/settings/signals/text/", {"text": "- {slug: x, scale: interval}"}).status_code == 302
    assert Signal.objects.get().scale == "interval"


def test_a_changed_guideline_is_a_new_version_and_shows_what_changed(client: Client) -> None:
    eva = signed_in(client, "reviewer")
    signal = make_signal()
    address = "/settings/signals/sentiment/guideline/"
    client.post(address, {"text": "Judge the **end**.\r\nSarcasm is negative.", "note": "sarcasm"})
    newest = signal.guidelines.first()
    assert (newest.version, newest.note, newest.created_by) == (2, "sarcasm", eva)
    shown = client.get(address + "?old=1&new=2").text
    assert "<ins>Sarcasm is negative.</ins>" in shown
    assert "<strong>end</strong>" in shown
    assert client.get(address + "?old=1&new=9").status_code == 404
    client.post(address, {"text": newest.text})
    assert Guideline.objects.count() == 2


def test_guidelines_are_written_by_reviewers() -> None:
    with pytest.raises(Refused, match="reviewers and above"):
        guidelines.publish(signal=make_signal(), text="Mine", by=make_user())


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "[x](javascript:alert(1))", "<img src=x onerror=alert(1)>", "![x](http://a/b.png)"],
)
def test_markdown_cannot_carry_scripts_or_foreign_pictures(text: str) -> None:
    html = prose(text)
    assert "<script" not in html and "<img" not in html and 'href="javascript' not in html


def test_markdown_reads_as_meant() -> None:
    html = prose("# Title\n\n- **one**\n\n| a | b |\n|---|---|\n| 1 | 2 |")
    assert "<h2>Title</h2>" in html and "<li><strong>one</strong></li>" in html and "<td>1</td>" in html


def test_an_admin_lets_people_in_and_shows_the_password_once(client: Client) -> None:
    signed_in(client, "admin")
    response = client.post("/settings/people/", {"name": "zoe", "role": "reviewer", "password": ""})
    zoe = User.objects.get(username="zoe")
    secret = response.text.split('class="secret">')[1].split("<")[0]
    assert zoe.check_password(secret) and zoe.role == "reviewer"
    assert secret not in client.get("/settings/people/").text
    assert client.post("/settings/people/", {"name": "zoe", "role": "admin"}).status_code == 409
    weak = client.post("/settings/people/", {"name": "yan", "role": "annotator", "password": "abc"})
    assert weak.status_code == 422 and not User.objects.filter(username="yan").exists()


def test_roles_change_and_the_last_admin_stays(client: Client) -> None:
    me = signed_in(client, "admin", "root")
    make_user("ben")
    client.post("/settings/people/ben/", {"action": "role", "role": "engineer"})
    assert User.objects.get(username="ben").role == "engineer"
    client.post("/settings/people/ben/", {"action": "deactivate"})
    assert not User.objects.get(username="ben").is_active
    client.post("/settings/people/ben/", {"action": "activate"})
    assert User.objects.get(username="ben").check_password("correct horse")
    assert User.objects.get(username="ben").is_active
    crowd = User.objects.create(username="crowd/1", is_active=False, password="!")
    shown = client.post("/settings/people/crowd/1/", {"action": "activate"}).text
    crowd.refresh_from_db()
    assert crowd.is_active and crowd.check_password(shown.split('class="secret">')[1].split("<")[0])
    with pytest.raises(Conflict, match="last admin"):
        people.change_role(user=me, role="engineer")
    with pytest.raises(Forbidden):
        people.deactivate(user=me, by=me)


def test_one_makes_and_revokes_ones_own_tokens_only(client: Client) -> None:
    other, _ = tokens.make(user=make_user("other"), name="theirs", scopes=["label"])
    me = signed_in(client, "annotator")
    response = client.post("/settings/tokens/", {"name": "script", "scope": ["label"], "expires": "30d"})
    secret = response.text.split('class="secret">')[1].split("<")[0]
    mine = me.api_tokens.get()
    assert mine.digest == tokens.digest(secret)
    assert secret not in client.get("/settings/tokens/").text
    assert client.post("/settings/tokens/", {"name": "x", "scope": ["read"], "expires": ""}).status_code == 422
    assert client.post(f"/settings/tokens/{other.id}/revoke/").status_code == 404
    client.post(f"/settings/tokens/{mine.id}/revoke/")
    mine.refresh_from_db()
    other.refresh_from_db()
    assert mine.revoked_at and not other.revoked_at


def test_a_password_is_changed_by_who_knows_the_old_one(client: Client) -> None:
    me = signed_in(client, "annotator")
    new = {"new": "a better secret", "again": "a better secret"}
    assert client.post("/settings/profile/", {"old": "guess", **new}).status_code == 422
    assert client.post("/settings/profile/", {"old": "correct horse", **new, "again": "else"}).status_code == 422
    assert client.post("/settings/profile/", {"old": "correct horse", **new}).status_code == 302
    me.refresh_from_db()
    assert me.check_password("a better secret")
    assert client.get("/settings/profile/").status_code == 200  # still signed in


def run(name: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(name, *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_the_user_command_creates_changes_and_activates() -> None:
    assert run("user", "ann", "--role", "annotator", "--password", "correct horse") == "ann annotator created\n"
    assert run("user", "ann", "--role", "reviewer") == "ann reviewer changed\n"
    assert User.objects.get(username="ann").check_password("correct horse")
    told = run("user", "ben", "--role", "engineer").split("password: ")
    assert User.objects.get(username="ben").check_password(told[1].strip())
    loaded = User.objects.create(username="crowd", is_active=False)
    loaded.set_unusable_password()
    loaded.save()
    assert run("user", "crowd", "--password", "correct horse") == "crowd annotator activated\n"
    assert User.objects.get(username="crowd").is_active


def test_a_password_may_be_piped_and_a_silent_pipe_is_not_waited_for() -> None:
    import os

    reading, writing = os.pipe()
    with open(reading) as stream:
        assert piped_line(stream) is None
        os.write(writing, b"from a pipe\n")
        os.close(writing)
        assert piped_line(stream) == "from a pipe"
    assert piped_line(io.StringIO("nothing to select on")) is None


def test_the_token_command_prints_the_secret_alone() -> None:
    make_user("ada", role="engineer")
    secret = run("token", "ada", "--scopes", "label,read", "--expires", "30d")
    assert secret.count("\n") == 1
    token = ApiToken.objects.get(digest=tokens.digest(secret.strip()))
    assert token.scopes == ["label", "read"]
    assert timedelta(days=29) < token.expires_at - timezone.now() <= timedelta(days=30)
    for wrong in (
        ["zoe", "--scopes", "read"],
        ["ada", "--scopes", "fly"],
        ["ada", "--scopes", "read", "--expires", "soon"],
    ):
        with pytest.raises(SystemExit):
            run("token", *wrong)


def test_tokens_over_http(client: Client) -> None:
    ada = make_user("ada", role="admin")
    assert client.get("/api/v1/tokens/").status_code == 401
    _, reader = tokens.make(user=ada, name="r", scopes=["read"])
    assert client.get("/api/v1/tokens/", headers={"Authorization": f"Bearer {reader}"}).status_code == 403
    _, secret = tokens.make(user=ada, name="a", scopes=["admin"])
    head = {"Authorization": f"Token {secret}"}
    made = client.post(
        "/api/v1/tokens/", {"name": "n", "scopes": ["read"], "expires": "8w"}, "application/json", headers=head
    )
    assert made.status_code == 201
    assert ApiToken.objects.get(id=made.json()["id"]).digest == tokens.digest(made.json()["token"])
    listed = client.get("/api/v1/tokens/", headers=head).json()["results"]
    assert [row["name"] for row in listed] == ["r", "a", "n"] and "token" not in listed[0]
    assert client.delete(f"/api/v1/tokens/{made.json()['id']}/", headers=head).status_code == 204
    assert client.delete(f"/api/v1/tokens/{made.json()['id']}/", headers=head).status_code == 404
    wrong = client.post("/api/v1/tokens/", {"scopes": ["fly"]}, "application/json", headers=head)
    assert wrong.status_code == 422 and wrong.json()["errors"][0]["field"] == "scopes"


def test_only_admins_make_tokens_for_others(client: Client) -> None:
    make_user("ann")
    client.force_login(make_user("eve", role="engineer"))
    asked = {"scopes": ["label"], "user": "ann"}
    assert client.post("/api/v1/tokens/", asked, "application/json").status_code == 403
    client.force_login(make_user("ada", role="admin"))
    assert client.post("/api/v1/tokens/", asked, "application/json").json()["user"] == "ann"
