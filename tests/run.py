"""`make test`: the suite on SQLite, then what touches the database once more on PostgreSQL where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import psycopg

POSTGRES = os.environ.get("CXLAB_TEST_POSTGRES", "postgres:///cxlab")


def main() -> int:
    arguments = sys.argv[1:]
    workers = ["-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadscope"]
    with tempfile.TemporaryDirectory(prefix="cxlab-test-") as var:
        base = {**os.environ, "CXLAB_VAR": var, "CXLAB_REQUIRE": os.environ.get("CXLAB_REQUIRE", "")}
        base.pop("DATABASE_URL", None)
        base.pop("CELERY_BROKER_URL", None)
        print("== the suite, on SQLite", flush=True)
        worst = _pytest(workers + arguments, base)
        why = _no_postgres()
        if why:
            print(f"== skipped on PostgreSQL, {why}", flush=True)
            return worst
        print("== the database's part, on PostgreSQL", flush=True)
        on_postgres = {**base, "DATABASE_URL": POSTGRES}
        rooms = ["-m", "not once", "tests/labeling", "tests/calibration"]
        return max(worst, _pytest(workers + (arguments or rooms), on_postgres))


def _pytest(arguments: list[str], environment: dict[str, str]) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *arguments], env=environment, check=False).returncode


def _no_postgres() -> str | None:
    """Why PostgreSQL cannot be used here; None when it can."""
    try:
        psycopg.connect("dbname=postgres", connect_timeout=3).close()
    except psycopg.Error as error:
        return f"since none answers: {str(error).strip().splitlines()[0]}"
    return None


if __name__ == "__main__":
    sys.exit(main())
