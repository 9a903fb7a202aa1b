"""The environment, parsed once and refused loudly."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import environ

TRUE, FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
BROKERS = ("redis", "rediss", "amqp", "amqps", "filesystem")


class EnvironmentRefused(SystemExit):
    """A setting that cannot be meant: the process stops and says which one and why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"cxlab does not start: {name} {why}")


@dataclass(frozen=True, slots=True)
class Environment:
    """What cxlab takes from outside; everything else is set in the app."""

    debug: bool
    secret_key: str
    allowed_hosts: list[str]
    var: Path
    database: dict[str, object]
    broker_url: str | None
    webhooks_private: bool
    mail: dict[str, object]
    mail_from: str


def read(source: Mapping[str, str], *, root: Path) -> Environment:
    """Parse the environment of a process; raises EnvironmentRefused naming the variable at fault."""
    var = Path(source.get("CXLAB_VAR") or root / "var").expanduser().resolve()
    debug = _flag(source, "DEBUG")
    hosts = [
        host.strip() for host in source.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",") if host.strip()
    ]
    if not hosts:
        raise EnvironmentRefused("ALLOWED_HOSTS", "is empty: name at least one host, separated by commas")
    return Environment(
        debug=debug,
        secret_key=_secret_key(source, var),
        allowed_hosts=hosts,
        var=var,
        database=_database(source.get("DATABASE_URL") or f"sqlite:///{var / 'cxlab.sqlite3'}", var),
        broker_url=_broker(source.get("CELERY_BROKER_URL")),
        webhooks_private=_flag(source, "WEBHOOKS_PRIVATE"),
        mail=_mail(source.get("EMAIL_URL")),
        mail_from=source.get("MAIL_FROM") or "cxlab@localhost",
    )


def _flag(source: Mapping[str, str], name: str) -> bool:
    word = source.get(name, "").strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise EnvironmentRefused(name, f"is {word!r}: use 1 or 0")


def _secret_key(source: Mapping[str, str], var: Path) -> str:
    """The key from the environment, else one made on first use and kept in the var folder, readable by its owner only."""
    given = source.get("SECRET_KEY")
    if given is not None:
        if len(given) < 32:
            raise EnvironmentRefused("SECRET_KEY", f"has {len(given)} characters: at least 32 are needed")
        return given
    path = var / "secret_key"
    if not path.exists():
        var.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x") as file:
                path.chmod(0o600)
                file.write(secrets.token_urlsafe(48))
        except FileExistsError:  # another process of the same start was quicker
            pass
    return path.read_text().strip()


def _database(url: str, var: Path) -> dict[str, object]:
    scheme = urlsplit(url).scheme
    if scheme not in {"sqlite", "postgres", "postgresql"}:
        raise EnvironmentRefused(
            "DATABASE_URL", f"has the scheme {scheme!r}: use sqlite:///path or postgres://user@host/name"
        )
    try:
        database: dict[str, object] = dict(environ.Env.db_url_config(url))
    except Exception as error:
        raise EnvironmentRefused("DATABASE_URL", f"cannot be read: {error}") from error
    if scheme == "sqlite":
        # Writers queue from their first statement on, readers never wait for them.
        database["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; PRAGMA recursive_triggers=ON;",
        }
        Path(str(database["NAME"])).parent.mkdir(parents=True, exist_ok=True)
        # Tests use a file too: in memory, all threads of a test's live server would share one connection and its
        # transaction.
        database["TEST"] = {"NAME": str(var / "test.sqlite3")}
    else:
        database["CONN_MAX_AGE"] = 60
        database["CONN_HEALTH_CHECKS"] = True
    return database


def _mail(url: str | None) -> dict[str, object]:
    """Django's settings of a mail server; none where no address is given."""
    if not url:
        return {}
    if urlsplit(url).scheme not in ("smtp", "smtps", "smtp+tls", "smtp+ssl"):
        raise EnvironmentRefused("EMAIL_URL", "has no scheme of mail: use smtp+tls://name:password@host:587")
    config = environ.Env.email_url_config(url)
    return {name: value for name, value in config.items() if name.startswith("EMAIL_") and name != "EMAIL_FILE_PATH"}


def _broker(url: str | None) -> str | None:
    if not url:
        return None
    scheme = urlsplit(url).scheme
    if scheme not in BROKERS:
        raise EnvironmentRefused(
            "CELERY_BROKER_URL", f"has the scheme {scheme!r}: use redis:// or amqp://, or leave it out"
        )
    return url
