"""`manage.py gate POLICY --dataset D@N --candidate C@V`: exit 0 passed, 1 failed, 2 unusable input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from calibration.evidence import gate_records, gates
from labeling.errors import Refused
from labeling.management.base import VerbCommand


class Command(VerbCommand):
    help = "Hold a candidate version against a release policy."
    refused_exit = 2

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("policy", help="a YAML file")
        parser.add_argument("--dataset", required=True, metavar="D@N")
        parser.add_argument("--candidate", required=True, metavar="C@V")
        parser.add_argument("--baseline", default="", metavar="C@V")
        parser.add_argument(
            "--scenario", default="", metavar="RUN", help="a simulated run: its source, or its attribute `scenario`"
        )
        parser.add_argument("--junit", type=Path, metavar="FILE")
        parser.add_argument("--markdown", type=Path, metavar="FILE")
        parser.add_argument("--record", type=Path, metavar="FILE", help="the signed result, as JSON")
        parser.add_argument("--format", choices=("table", "json"), default="table")

    def input_name(self, options: dict[str, Any]) -> str:
        return str(options["policy"])

    def run(self, **options: Any) -> int:
        try:
            policy = Path(options["policy"]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused("no_policy", f"{options['policy']} cannot be read: {error}", field="policy") from error
        names = ("dataset", "candidate", "baseline", "scenario")
        done = gates.run(policy=policy, **{name: options[name] for name in names})
        if options["junit"]:
            _write(options["junit"], gates.junit(done.document))
        if options["markdown"]:
            _write(options["markdown"], gates.markdown(done.document).encode())
        if options["record"]:
            _write(options["record"], json.dumps(gate_records.record(done), ensure_ascii=False, indent=1).encode())
        if options["format"] == "json":
            self.stdout.write(json.dumps(done.document, ensure_ascii=False, indent=1))
        else:
            for check in done.document["checks"]:
                word = "ok  " if check["passed"] else "open" if check["unproven"] else "FAIL"
                why = f"  {check['reason']}" if check["reason"] else ""
                self.stdout.write(f"{word}  {check['name']}  {gates.told(check['value'])}{why}")
            self.stdout.write(done.document["sentence"])
        return 0 if done.passed else 1


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Refused("cannot_write", f"{path} cannot be written: {error}") from error
