"""Classifiers and their pinned versions: registered once, never changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import transaction

from calibration.evaluators import custom, judge
from calibration.models import Classifier, ClassifierVersion
from labeling import references
from labeling.errors import Conflict, NotFound, Refused, RowError
from labeling.formats import jsonl
from labeling.models import Signal
from labeling.signals import Applied

SLUG = re.compile(r"^[-a-zA-Z0-9_.]{1,120}$")
VERSION = re.compile(r"^[^\s@/]{1,120}$")
PINNED = ("kind", "model", "prompt", "parameters", "code")
VERSION_KNOWN = {"version", "note", "parent", *PINNED}
KNOWN = {"slug", "title", "signal", "versions"}


def version_named(reference: str) -> ClassifierVersion:
    """The pinned version that `judge@2026-03` names; raises NotFound."""
    slug, name = references.split(reference)
    versions = ClassifierVersion.objects.filter(classifier__slug=slug, version=name or "")
    found = versions.select_related("classifier__signal").first()
    if found is None:
        raise NotFound("unknown_version", f"there is no classifier version {reference!r}", field="classifier")
    return found


def pin(content: Mapping[str, Any]) -> str:
    """The hash of what makes a version this version: kind, model, prompt, parameters, code."""
    pinned = {name: content.get(name) or ({} if name == "parameters" else "") for name in PINNED}
    return hashlib.sha256(json.dumps(pinned, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def pinned_content(content: Mapping[str, Any], signal: Signal, known: dict[str, Any] | None) -> dict[str, Any]:
    """Content with all that its answers depend on: the text of a quoted guideline, the code of an installed function."""
    given = dict(content)
    if given.get("kind") == "openai":
        return judge.pinned_content(given, signal, known)
    if given.get("kind") == "python":
        pins = {name: known[name] for name in custom.PINS if known and name in known} or custom.pin_of(
            given.get("code", "")
        )
        return given | {"parameters": {**(given.get("parameters") or {}), **pins}}
    if given.get("kind") == "http":
        custom.check_service(given.get("parameters") or {})
    return given


def register(*, classifier: Classifier, version: str, content: Mapping[str, Any]) -> tuple[ClassifierVersion, bool]:
    """A version of a classifier, and whether it is new; refused when the name exists with another content."""
    if not VERSION.match(version):
        raise Refused("bad_version", f"{version!r} is no name of a version: no spaces, @ or /", field="version")
    existing = ClassifierVersion.objects.filter(classifier=classifier, version=version).first()
    content = pinned_content(content, classifier.signal, existing.parameters if existing else None)
    sha256 = pin(content)
    if existing is not None:
        if existing.content_sha256 != sha256:
            raise Conflict(
                "version_is_pinned",
                f"{existing} exists with another content and is pinned: register it under another version",
                field="version",
            )
        return existing, False
    parent = content.get("parent")
    fields = {name: content[name] for name in (*PINNED, "note") if content.get(name)}
    made = ClassifierVersion.objects.create(
        classifier=classifier,
        version=version,
        content_sha256=sha256,
        parent=version_named(f"{classifier.slug}@{parent}") if parent else None,
        **fields,
    )
    return made, True


def apply(*, document: Sequence[Any]) -> Applied:
    """Create classifiers and register versions; all of the document, or nothing with an error for each entry at fault."""
    errors: list[RowError] = []
    done: dict[str, list[str]] = {"created": [], "updated": [], "unchanged": []}
    with transaction.atomic():
        for number, entry in enumerate(document, 1):
            wrong = _wrong(number, entry)
            errors += wrong
            if wrong:
                continue
            try:
                with transaction.atomic():
                    _apply_one(entry, done)
            except Refused as refused:
                errors.append(RowError(number, refused.field, refused.message))
        if errors:
            raise Refused("bad_classifiers", "nothing was changed", errors=errors)
    return Applied(*(tuple(done[word]) for word in ("created", "updated", "unchanged")))


def _apply_one(entry: Mapping[str, Any], done: dict[str, list[str]]) -> None:
    signal = Signal.objects.filter(slug=entry["signal"]).first()
    if signal is None:
        raise Refused("unknown_signal", f"there is no signal {entry['signal']!r}", field="signal")
    title = entry.get("title") or entry["slug"]
    classifier, made = Classifier.objects.get_or_create(slug=entry["slug"], defaults={"title": title, "signal": signal})
    if classifier.signal_id != signal.id:
        raise Conflict(
            "other_signal", f"{classifier.slug} scores {classifier.signal.slug} and stays with it", field="signal"
        )
    word = "created" if made else "unchanged"
    if classifier.title != title:
        Classifier.objects.filter(id=classifier.id).update(title=title)
        word = "updated"
    done[word].append(classifier.slug)
    for version in entry.get("versions") or []:
        registered, new = register(classifier=classifier, version=version["version"], content=version)
        done["created" if new else "unchanged"].append(str(registered))


def _wrong(number: int, entry: Any) -> list[RowError]:
    """What is wrong with the form of one entry."""
    if not isinstance(entry, dict):
        return [RowError(number, None, "must be a mapping with slug, title, signal, versions")]
    if isinstance(unstorable := jsonl.checked(entry, number), RowError):
        return [unstorable]
    errors = [
        RowError(number, str(name), f"is not known; known are {', '.join(sorted(KNOWN))}")
        for name in entry.keys() - KNOWN
    ]
    if not isinstance(entry.get("slug"), str) or not SLUG.match(entry["slug"]):
        errors.append(RowError(number, "slug", "is required: letters, digits, - _ and ."))
    if not isinstance(entry.get("signal"), str):
        errors.append(RowError(number, "signal", "is required: the slug of a signal"))
    versions = entry.get("versions") or []
    if not isinstance(versions, list):
        return [*errors, RowError(number, "versions", "must be a list")]
    for place, version in enumerate(versions):
        where = f"versions.{place}"
        if not isinstance(version, dict) or not isinstance(version.get("version"), str):
            errors.append(RowError(number, where, "must be a mapping with a version, a text (quote it)"))
            continue
        errors += [RowError(number, f"{where}.{name}", "is not known") for name in version.keys() - VERSION_KNOWN]
        errors += [RowError(number, f"{where}.parameters", wrong) for wrong in _wrong_parameters(version)]
    return errors


def _wrong_parameters(version: Mapping[str, Any]) -> Iterator[str]:
    """YAML reads dates and infinities, of which JSON has none."""
    given = version.get("parameters") or {}
    if not isinstance(given, dict):
        yield "must be a mapping"
        return
    try:
        json.dumps(given, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        yield "must be texts, finite numbers, lists and mappings (quote dates)"
