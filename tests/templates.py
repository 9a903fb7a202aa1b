"""Compile every template: a misspelt tag fails in `make check`, not on somebody's screen."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django
from django.template import TemplateSyntaxError
from django.template.loader import get_template

FOLDER = Path(__file__).resolve().parent.parent / "templates"


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cxlab.settings")
    django.setup()
    failed = 0
    names = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.html"))
    for name in names:
        try:
            get_template(name)
        except TemplateSyntaxError as error:
            failed += 1
            print(f"{name}: {error}")
    print(f"{len(names)} templates, {failed} with errors")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
