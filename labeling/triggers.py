"""Immutability in the database itself: triggers that hold against any program, this one included.

Used by migrations; a change here needs a migration that puts the triggers up anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Guard:
    """Refuses `event` (INSERT, UPDATE, DELETE; UPDATE OF columns) on rows of `table` for which `when` holds.

    `when` is SQL over OLD and NEW that both databases understand; empty: always.
    """

    name: str
    table: str
    event: str
    message: str
    when: str = ""

    def create(self, vendor: str) -> list[str]:
        condition = f" WHEN ({self.when})" if self.when else ""
        if vendor == "sqlite":
            body = f"BEGIN SELECT RAISE(ABORT, '{self.message}'); END"
            return [f"CREATE TRIGGER {self.name} BEFORE {self.event} ON {self.table} FOR EACH ROW{condition} {body}"]
        # PostgreSQL allows no subquery in WHEN: the condition goes into the function.
        test = (
            f"IF NOT ({self.when}) THEN RETURN {'OLD' if self.event == 'DELETE' else 'NEW'}; END IF; "
            if self.when
            else ""
        )
        function = (
            f"CREATE OR REPLACE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {test}RAISE EXCEPTION '{self.message}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        trigger = f"CREATE TRIGGER {self.name} BEFORE {self.event} ON {self.table} FOR EACH ROW EXECUTE FUNCTION {self.name}()"
        return [function, trigger]

    def drop(self, vendor: str) -> list[str]:
        if vendor == "sqlite":
            return [f"DROP TRIGGER IF EXISTS {self.name}"]
        return [f"DROP TRIGGER IF EXISTS {self.name} ON {self.table}", f"DROP FUNCTION IF EXISTS {self.name}()"]


def _frozen(row: str) -> str:
    return f"EXISTS (SELECT 1 FROM labeling_datasetversion v WHERE v.id = {row}.version_id AND v.frozen_at IS NOT NULL)"


_LABEL = (
    "id, conversation_id, turn, signal_id, annotator_id, item_id, submission_id, value, number, confidence, comment, seconds, "
    "guideline_id, late, labeled_at, stored_at, metadata"
)
_CHECK = (
    "id, submission_id, slot_id, annotator_id, signal_id, value, number, confidence, comment, seconds, guideline_id, "
    "first_id, known_id, answered_at"
)
_RULING = (
    "id, conversation_id, turn, signal_id, item_id, reviewer_id, value, number, reason, note, guideline_id, decided_at"
)
_VERSION = (
    "id, classifier_id, version, kind, model, prompt, parameters, code, note, parent_id, content_sha256, created_at"
)

LABELING = (
    Guard("label_keeps", "labeling_label", f"UPDATE OF {_LABEL}", "labels are append-only"),
    Guard("label_stays", "labeling_label", "DELETE", "labels are append-only"),
    Guard("ruling_keeps", "labeling_ruling", f"UPDATE OF {_RULING}", "rulings are append-only"),
    Guard("ruling_stays", "labeling_ruling", "DELETE", "rulings are append-only"),
    Guard("gold_row_comes", "labeling_goldrow", "INSERT", "a frozen dataset version takes no rows", _frozen("NEW")),
    Guard("gold_row_keeps", "labeling_goldrow", "UPDATE", "a frozen dataset version does not change", _frozen("OLD")),
    Guard("gold_row_stays", "labeling_goldrow", "DELETE", "a frozen dataset version does not change", _frozen("OLD")),
    Guard(
        "dataset_version_keeps",
        "labeling_datasetversion",
        "UPDATE",
        "a frozen dataset version does not change",
        "OLD.frozen_at IS NOT NULL",
    ),
    Guard(
        "dataset_version_stays",
        "labeling_datasetversion",
        "DELETE",
        "a frozen dataset version does not change",
        "OLD.frozen_at IS NOT NULL",
    ),
)
RULINGS = (
    Guard(
        "ruling_ends_once",
        "labeling_ruling",
        "UPDATE OF superseded_at, withdrawn_by_id",
        "a ruling that has ended stays as it is",
        "OLD.superseded_at IS NOT NULL",
    ),
)
CHECKS = (
    Guard("check_answer_keeps", "labeling_checkanswer", f"UPDATE OF {_CHECK}", "answers to checks are append-only"),
    Guard("check_answer_stays", "labeling_checkanswer", "DELETE", "answers to checks are append-only"),
)
CALIBRATION = (
    Guard(
        "classifier_version_keeps",
        "calibration_classifierversion",
        f"UPDATE OF {_VERSION}",
        "a pinned version does not change: register another one",
    ),
    Guard("classifier_version_stays", "calibration_classifierversion", "DELETE", "a pinned version stays"),
    Guard("report_keeps", "calibration_agreementreport", "UPDATE", "a report does not change"),
    Guard("report_stays", "calibration_agreementreport", "DELETE", "a report stays"),
)

ALL = (*LABELING, *RULINGS, *CHECKS, *CALIBRATION)


def down(vendor: str) -> list[str]:
    """Statements that take every trigger away, for as long as it takes to empty the tables."""
    return [statement for guard in ALL for statement in guard.drop(vendor)]


def up(vendor: str) -> list[str]:
    """Statements that put every trigger up."""
    return [statement for guard in ALL for statement in guard.create(vendor)]


def create(guards: Sequence[Guard], schema_editor: Any) -> None:
    for guard in guards:
        for statement in guard.create(schema_editor.connection.vendor):
            schema_editor.execute(statement)


def drop(guards: Sequence[Guard], schema_editor: Any) -> None:
    for guard in guards:
        for statement in guard.drop(schema_editor.connection.vendor):
            schema_editor.execute(statement)
