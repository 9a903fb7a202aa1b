"""`manage.py gate_record FILE`: exit 0 when a gate's record was signed here and is unchanged, 1 when not, 2 when unreadable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from calibration.evidence import gate_records
from labeling.errors import Refused
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Verify the signed record of a gate."
    refused_exit = 2

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def run(self, **options: Any) -> int:
        try:
            given = json.loads(options["file"].read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Refused("unreadable", f"{options['file']} cannot be read: {error}", field="file") from error
        if not isinstance(given, dict):
            raise Refused("no_record", f"{options['file']} holds no record", field="file")
        good = gate_records.genuine(given)
        self.stdout.write("signed here and unchanged" if good else "NOT genuine: changed, or signed by somebody else")
        return 0 if good else 1
