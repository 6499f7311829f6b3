"""Every setting, read once from the environment, checked as a whole, then frozen and passed down.

A wrong value stops the start with the variable, the value and what is accepted. Nothing else reads the environment.
"""

from __future__ import annotations

import ipaddress
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from ..errors import SettingsError
from ..logs.known_secrets import KNOWN, basic_credentials
from ..retention import Retention
from .addresses import Network, is_loopback_host, parse_networks, parse_prefix
from .admin_tokens import ACCEPTED as TOKENS_ACCEPTED
from .admin_tokens import AdminToken, WrongEntry, parse_tokens
from .redis_urls import ACCEPTED as REDIS_URLS_ACCEPTED
from .redis_urls import WrongRedisUrl, check_redis_url
from .secret_url import SecretUrl
from .token_keys import ACCEPTED as KEYS_ACCEPTED
from .token_keys import is_strong

#: Where, in `var_dir`, `nomad run all` keeps the address and password of the Redis that it brings.
OWN_REDIS = Path("redis") / "url"

T = TypeVar("T")
D = TypeVar("D")

#: The original system's names; read when ours is not set.
_OLD_NAMES = {
    "NOMAD_CONCURRENCY": "BULLMQ_CONCURRENCY",
    "NOMAD_MAX_RETRIES": "BULLMQ_MAX_RETRIES",
    "NOMAD_RETRY_DELAY": "BULLMQ_RETRY_DELAY",
}
_KEPT = re.compile(r"([0-9]{1,9})/([0-9]{1,6})([mhd])")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

DEFAULT_USER_AGENT = "nomad-actors/0.1.0 (set ESI_USER_AGENT to your contact)"


class Keep(NamedTuple):
    """How many ended jobs a queue keeps, and for how long."""

    jobs: int
    age_ms: int


_RETENTION = Retention()
_KEEP_COMPLETED = Keep(_RETENTION.completed, _RETENTION.completed_ms)
_KEEP_FAILED = Keep(_RETENTION.failed, _RETENTION.failed_ms)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an operator can decide. Times in the unit that the name ends in.

    What is secret is shown nowhere: keys are of a type that hides them, URLs hide their passwords, and both are left
    out of every text that this process writes from now on (`known_secrets`). Plain texts are accepted for them.
    """

    #: The queues' Redis; it must be `noeviction` and persistent.
    redis_url: SecretUrl = SecretUrl("redis://localhost:6379/0")
    #: The file that holds it, where it is the address of the Redis that `nomad run all` has brought.
    redis_url_file: Path | None = None
    #: Whether the environment or such a file says where it is.
    redis_url_is_given: bool = False
    #: The ESI cache's Redis, a disposable copy; the queues' Redis when empty.
    redis_cache_url: SecretUrl = SecretUrl("")
    database_url: SecretUrl = SecretUrl("sqlite:///var/nomad.db")
    #: Where the database, the made-up token key and the own Redis live when nothing else is said.
    var_dir: Path = Path("var")
    #: Jobs at a time, a queue and worker process, for job types that do not say.
    concurrency: int = 5
    #: Attempts of job types that do not say, the first one counted.
    max_retries: int = 3
    #: Backoff of job types that do not say.
    retry_delay_ms: int = 2000
    #: Jobs at a time by queue name; overrides what the job type says.
    queue_concurrency: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    #: Ended jobs kept, a queue: by count and by age; and by queue name what differs.
    keep_completed: Keep = _KEEP_COMPLETED
    keep_failed: Keep = _KEEP_FAILED
    queue_keep_completed: Mapping[str, Keep] = field(default_factory=lambda: MappingProxyType({}))
    queue_keep_failed: Mapping[str, Keep] = field(default_factory=lambda: MappingProxyType({}))
    #: Python modules with job types of the user's own.
    modules: tuple[str, ...] = ()
    eve_client_id: str = ""
    eve_client_secret: SecretStr = SecretStr("")
    esi_base_url: str = "https://esi.evetech.net"
    sso_base_url: str = "https://login.eveonline.com"
    esi_user_agent: str = DEFAULT_USER_AGENT
    #: Keys that encrypt refresh tokens, newest first; the others still decrypt.
    token_keys: tuple[SecretStr, ...] = ()
    #: Who may ask the admin; without any, who has the token in `var_dir`, and this machine may look.
    admin_tokens: tuple[AdminToken, ...] = field(default=(), repr=False)
    #: Names that the admin is reached by, beside loopback ones and `admin_host`.
    admin_hosts: tuple[str, ...] = ()
    #: The addresses of proxies whose X-Forwarded-* headers the admin believes.
    admin_trusted_proxies: tuple[Network, ...] = ()
    #: What a proxy puts before the admin's paths, as /nomad.
    admin_prefix: str = ""
    #: Whether the admin refuses every change.
    admin_read_only: bool = False
    admin_host: str = "127.0.0.1"
    admin_port: int = 3000
    #: The first port that this service's processes try for /metrics; 0 picks any free one; None is the service's own.
    metrics_port: int | None = None
    #: Where it listens; whoever reaches the port may read the numbers.
    metrics_host: str = "127.0.0.1"
    #: Names with dots by which Prometheus asks for it; addresses and names without dots are always allowed.
    metrics_hosts: tuple[str, ...] = ()
    #: How long a stopping worker lets jobs finish.
    shutdown_ms: int = 25_000
    sentry_dsn: SecretStr = SecretStr("")
    log_format: str = "logfmt"
    log_level: str = "info"

    def __post_init__(self) -> None:
        for name in ("redis_url", "redis_cache_url", "database_url"):
            object.__setattr__(self, name, SecretUrl(_plain(getattr(self, name))))
        for name in ("eve_client_secret", "sentry_dsn"):
            object.__setattr__(self, name, SecretStr(_plain(getattr(self, name))))
        object.__setattr__(self, "token_keys", tuple(SecretStr(_plain(key)) for key in self.token_keys))
        KNOWN.add(*self._secrets(), lasting=True)

    def _secrets(self) -> list[str]:
        """Return what no text may hold."""
        client_secret = self.eve_client_secret.get_secret_value()
        found = [client_secret, *(key.get_secret_value() for key in self.token_keys)]
        found += [*self.redis_url.secrets, *self.redis_cache_url.secrets, *self.database_url.secrets]
        if client_secret:
            found += basic_credentials(self.eve_client_id, client_secret)
        dsn = urlsplit(self.sentry_dsn.get_secret_value())
        return [*found, *(part for part in (dsn.username, dsn.password) if part)]

    @property
    def cache_url(self) -> SecretUrl:
        """The Redis URL of the ESI cache."""
        return self.redis_cache_url or self.redis_url

    @property
    def database_path(self) -> Path | None:
        """The file of a SQLite database, None for another."""
        url = self.database_url
        return Path(url.removeprefix("sqlite:///").partition("?")[0]) if url.startswith("sqlite:///") else None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings from `environ`.

        Raises `SettingsError` listing every wrong variable with its value and what is accepted.
        """
        return _Reader(environ).read()


def _plain(secret: str | SecretStr) -> str:
    # A `SecretUrl` would say its own text, without the password.
    return secret.get_secret_value() if isinstance(secret, SecretStr) else str.__str__(secret)


class Origin(NamedTuple):
    """Where a setting comes from: its variable, and the variables that were read for it (none: the default)."""

    variable: str
    read: tuple[str, ...]


def read_with_origins(environ: Mapping[str, str]) -> tuple[Settings, Mapping[str, Origin]]:
    """Read the settings from `environ`, and tell of each of them, by attribute, where it comes from.

    Raises as `Settings.from_env`.
    """
    reader = _Reader(environ)
    return reader.read(), reader.origins


def is_secret(variable: str) -> bool:
    """Return whether a variable's value may not be shown; of a URL, only its password may not."""
    return _is_secret(variable) and not variable.endswith("_URL")


class _Reader:
    """Reads variable by variable and collects what is wrong, so that one start shows all of it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []
        self._values: dict[str, Any] = {}
        self._read: dict[str, str] = {}
        self.origins: dict[str, Origin] = {}

    def read(self) -> Settings:
        self._take("var_dir", "NOMAD_VAR_DIR", Path, "a directory's path")
        self._redis()
        self._take("redis_cache_url", "REDIS_CACHE_URL", check_redis_url, REDIS_URLS_ACCEPTED)
        self._take("database_url", "DATABASE_URL", _database_url, "a sqlite:/// or postgresql:// URL")
        self._take("concurrency", "NOMAD_CONCURRENCY", _whole(1, 1000), "a whole number from 1 to 1000")
        self._take("max_retries", "NOMAD_MAX_RETRIES", _whole(1, 1000), "a whole number from 1 to 1000")
        self._take("retry_delay_ms", "NOMAD_RETRY_DELAY", _whole(0, 604_800_000), "milliseconds from 0 to 604800000")
        self._by_queue("queue_concurrency", "NOMAD_CONCURRENCY", _whole(1, 1000), "a whole number from 1 to 1000")
        for name in ("keep_completed", "keep_failed"):
            self._take(name, f"NOMAD_{name.upper()}", _keep, _KEEP_ACCEPTED)
            self._by_queue(f"queue_{name}", f"NOMAD_{name.upper()}", _keep, _KEEP_ACCEPTED)
        self._take("modules", "NOMAD_MODULES", _modules, "Python module names with commas between them")
        for name in ("eve_client_id", "eve_client_secret", "esi_user_agent"):
            self._take(name, name.upper(), _printable, "printable text without line breaks")
        self._take("sentry_dsn", "SENTRY_DSN", _dsn, "a project's DSN, as https://KEY@sentry.example.org/1")
        self._take("esi_base_url", "ESI_BASE_URL", _tls_url, _TLS_URL_ACCEPTED)
        self._take("sso_base_url", "SSO_BASE_URL", _tls_url, _TLS_URL_ACCEPTED)
        self._take("token_keys", "NOMAD_TOKEN_KEYS", _token_keys, KEYS_ACCEPTED)
        self._take("admin_tokens", "NOMAD_ADMIN_TOKENS", parse_tokens, TOKENS_ACCEPTED)
        self._take("admin_hosts", "NOMAD_ADMIN_HOSTS", _hosts, "host names without ports, with commas between them")
        self._take(
            "admin_trusted_proxies",
            "NOMAD_ADMIN_TRUSTED_PROXIES",
            parse_networks,
            "addresses or networks with commas between them, as 127.0.0.1,10.0.0.0/8",
        )
        self._take("admin_prefix", "ADMIN_PREFIX", parse_prefix, "a path as /nomad, that does not begin with /admin")
        self._take("admin_read_only", "NOMAD_ADMIN_READ_ONLY", _flag, "1 or 0")
        self._take("admin_host", "ADMIN_HOST", _listening, "a host name or address")
        self._take("admin_port", "ADMIN_PORT", _whole(0, 65535), "a port from 0 to 65535")
        self._take("metrics_host", "NOMAD_METRICS_HOST", _listening, "an address of this machine, or 0.0.0.0")
        self._take("metrics_hosts", "NOMAD_METRICS_HOSTS", _hosts, "host names without ports, with commas between them")
        self._take("metrics_port", "NOMAD_METRICS_PORT", _whole(0, 65535), "a port from 0 to 65535")
        self._take("shutdown_ms", "NOMAD_SHUTDOWN_MS", _whole(0, 3_600_000), "milliseconds from 0 to 3600000")
        self._take("log_format", "LOG_FORMAT", _one_of("logfmt", "json"), "logfmt or json")
        self._take("log_level", "LOG_LEVEL", _one_of(*_LOG_LEVELS), ", ".join(_LOG_LEVELS))
        if self._problems:
            raise SettingsError(self._problems)
        return Settings(**self._values)

    def _redis(self) -> None:
        parts = [n for n in ("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_DB") if self._environ.get(n)]
        if self._environ.get("REDIS_URL") and parts:
            self._problems.append(f"REDIS_URL and {', '.join(parts)} are both set; accepted: one or the other")
            return
        self._take("redis_url", "REDIS_URL", check_redis_url, REDIS_URLS_ACCEPTED)
        self._values["redis_url_is_given"] = bool(parts or self._environ.get("REDIS_URL"))
        if not parts:
            path = self._values.get("var_dir", Settings.var_dir) / OWN_REDIS
            if not self._environ.get("REDIS_URL"):
                self._own_redis(path)
            elif self._values.get("redis_url") == _saved_url(path):
                # As for the parts that `nomad run all` supervises: the same Redis, and the same log to look at.
                self._values["redis_url_file"] = path
            return
        self.origins["redis_url"] = Origin("REDIS_URL", tuple(parts))
        accepted = "a host name or address alone; REDIS_PORT and REDIS_DB say the rest"
        host = self._one("REDIS_HOST", _host, accepted, "localhost")
        port = self._one("REDIS_PORT", _whole(1, 65535), "a port from 1 to 65535", 6379)
        db = self._one("REDIS_DB", _whole(0, 1_000_000), "a database number, 0 or more", 0)
        # A file that it was read from ends in a line break; spaces may belong to it.
        password = self._environ.get("REDIS_PASSWORD", "").rstrip("\r\n")
        login = f":{quote(password, safe='')}@" if password else ""
        self._values["redis_url"] = f"redis://{login}{host}:{port}/{db}"

    def _own_redis(self, path: Path) -> None:
        """Take the Redis that `nomad run all` has brought, if it has: its password lets us into no other."""
        try:
            text = path.read_text(encoding="utf-8").strip()
            url = check_redis_url(text)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            why = str(error) if isinstance(error, OSError) else "what it holds is no URL"
            self._problems.append(
                f"REDIS_URL is not set, and {path} cannot be used ({why}); accepted: set REDIS_URL, or "
                "remove the file: `make run` writes it anew"
            )
            return
        self._values |= {"redis_url": url, "redis_url_file": path, "redis_url_is_given": True}
        self.origins["redis_url"] = Origin("REDIS_URL", (str(path),))

    def _by_queue(self, attribute: str, prefix: str, parse: Callable[[str], T], accepted: str) -> None:
        """Read `PREFIX_<QUEUE>` for every queue that is named so."""
        found: dict[str, T] = {}
        for name in self._environ:
            match = re.fullmatch(rf"{prefix}_([A-Z][A-Z0-9_]*)", name)
            if match and self._environ[name]:
                value = self._one(name, parse, accepted, None)
                if value is not None:
                    found[match[1].lower().replace("_", "-")] = value
        read = tuple(sorted(self._read[name] for name in self._read if name.startswith(f"{prefix}_")))
        self.origins[attribute] = Origin(f"{prefix}_<QUEUE>", read)
        self._values[attribute] = MappingProxyType(found)

    def _take(self, attribute: str, name: str, parse: Callable[[str], Any], accepted: str) -> None:
        value = self._one(name, parse, accepted, None)
        self.origins[attribute] = Origin(name, (self._read[name],) if name in self._read else ())
        if value is not None:
            self._values[attribute] = value

    def _one(self, name: str, parse: Callable[[str], T], accepted: str, default: D) -> T | D:
        """Return the parsed variable, or `default` when it is unset, empty or wrong (which is noted)."""
        asked = name
        name, text = self._find(name)
        if not text:
            return default
        self._read[asked] = name
        try:
            return parse(text)
        except ValueError as error:
            shown = "(hidden)" if _is_secret(name) else repr(text)
            why = f", and {error}" if isinstance(error, (WrongEntry, WrongRedisUrl)) else ""
            self._problems.append(f"{name} is {shown}{why}; accepted: {accepted}")
            return default

    def _find(self, name: str) -> tuple[str, str]:
        text = self._environ.get(name, "").strip()
        old = _OLD_NAMES.get(name)
        if not text and old and self._environ.get(old, "").strip():
            # Shown even when warnings are errors elsewhere: the old name works, and says what to do.
            warnings.warn(f"{old} is the original system's name; set {name} instead", FutureWarning, stacklevel=2)
            return old, self._environ[old].strip()
        return name, text


def _saved_url(path: Path) -> str | None:
    """Return the address in a file, None if the file cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def _is_secret(name: str) -> bool:
    return name.endswith(("_SECRET", "_PASSWORD", "_TOKENS", "_KEYS", "_DSN", "_URL"))


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return parse


_KEEP_ACCEPTED = "jobs/age, as 1000/24h (units m, h, d; 0/0h keeps none)"


def _keep(text: str) -> Keep:
    match = _KEPT.fullmatch(text.lower())
    if match is None:
        raise ValueError(text)
    return Keep(int(match[1]), int(match[2]) * _UNIT_MS[match[3]])


def _one_of(*accepted: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in accepted:
            raise ValueError(text)
        return text.lower()

    return parse


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.netloc or parts.path):
            raise ValueError(text)
        _ = parts.port  # raises ValueError for a port that is no number
        return text

    return parse


def _database_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme == "sqlite" and url.netloc:
        # A file has no host: sqlite://localhost/a is meant as sqlite:///a, or as a path from the root.
        raise ValueError(text)
    return _url("sqlite", "postgresql", "postgresql+psycopg")(text)


_TLS_URL_ACCEPTED = "an https:// URL; http:// for a loopback address alone, since tokens travel in it"


def _tls_url(text: str) -> str:
    url = urlsplit(text)
    if not url.hostname or (
        url.scheme == "http" and not (is_loopback_host(url.hostname) or url.hostname.endswith(".localhost"))
    ):
        raise ValueError(text)
    return _url("http", "https")(text).rstrip("/")


def _dsn(text: str) -> str:
    parts = urlsplit(text)
    project = parts.path.rpartition("/")[2]
    if not (text.isprintable() and parts.username and parts.hostname and re.fullmatch(r"[0-9]+", project)):
        raise ValueError(text)
    return _url("http", "https")(text)


def _host(text: str) -> str:
    if ":" in text:
        return f"[{ipaddress.IPv6Address(text.removeprefix('[').removesuffix(']'))}]"
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        raise ValueError(text)
    return text


def _listening(text: str) -> str:
    return str(ipaddress.IPv6Address(text)) if ":" in text else _host(text)


def _hosts(text: str) -> tuple[str, ...]:
    words = tuple(word.lower() for word in _words(text))
    if not all(re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", word) for word in words):
        raise ValueError(text)
    return tuple(word.strip("[]") for word in words)


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(text)
    return text == "1"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(text)
    return text


def _words(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise ValueError(text)
    return words


def _token_keys(text: str) -> tuple[str, ...]:
    keys = _words(text)
    if not is_strong(keys[0]):
        raise WrongEntry(
            "its first key, which encrypts, is not 32 random bytes in base64 or hexadecimal; an older key stays as it "
            "is behind a new one"
        )
    return keys


def _modules(text: str) -> tuple[str, ...]:
    words = _words(text)
    if not all(part.isidentifier() for word in words for part in word.split(".")):
        raise ValueError(text)
    return words
