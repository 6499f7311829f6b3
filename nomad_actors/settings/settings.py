"""Every setting: read once from the environment, validated together, then frozen and passed down.

An invalid value stops the start with the variable, the value and the allowed values. Nothing else reads the
environment.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from ..errors import SettingsError, WrongValue
from ..logs.known_secrets import KNOWN, basic_credentials
from ..retention import Retention
from . import values
from .addresses import Network, parse_networks, parse_prefix
from .admin_tokens import ALLOWED as TOKENS_ALLOWED
from .admin_tokens import AdminToken, parse_tokens
from .redis_urls import ALLOWED as REDIS_URLS_ALLOWED
from .redis_urls import check_redis_url
from .secret_url import SecretUrl
from .values import RetentionLimit

#: The file in `var_dir` where `nomad run all` saves the address and password of the Redis that it starts.
OWN_REDIS = Path("redis") / "url"

T = TypeVar("T")
D = TypeVar("D")

#: The original system's names, read if ours are not set.
_OLD_NAMES = {
    "NOMAD_CONCURRENCY": "BULLMQ_CONCURRENCY",
    "NOMAD_MAX_RETRIES": "BULLMQ_MAX_RETRIES",
    "NOMAD_RETRY_DELAY": "BULLMQ_RETRY_DELAY",
}
#: The ends of the names of variables whose values errors do not show.
_SECRETS = ("_SECRET", "_PASSWORD", "_TOKENS", "_KEYS", "_DSN", "_URL")
_LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

DEFAULT_USER_AGENT = "nomad-actors/0.1.0 (set ESI_USER_AGENT to your contact)"

_DEFAULT = Retention()
_COMPLETED = RetentionLimit(_DEFAULT.completed, _DEFAULT.completed_ms)
_FAILED = RetentionLimit(_DEFAULT.failed, _DEFAULT.failed_ms)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings. Names end in the unit of times.

    Secrets are never shown: keys have a type that hides them, URLs hide their passwords, and both are hidden in every
    text that this process writes from now on (`known_secrets`). Plain strings are allowed as arguments.
    """

    #: The queues' Redis; it must be `noeviction` and persistent.
    redis_url: SecretUrl = SecretUrl("redis://localhost:6379/0")
    #: The file that contains this URL, if it is the address of the Redis that `nomad run all` started.
    redis_url_file: Path | None = None
    #: Whether the URL comes from the environment or such a file.
    redis_url_is_given: bool = False
    #: The ESI cache's Redis, a disposable copy; the queues' Redis when empty.
    redis_cache_url: SecretUrl = SecretUrl("")
    database_url: SecretUrl = SecretUrl("sqlite:///var/nomad.db")
    #: Default directory of the database, the generated token key and the own Redis.
    var_dir: Path = Path("var")
    #: Default concurrency per queue and worker process.
    concurrency: int = 5
    #: Default number of attempts, including the first one.
    max_retries: int = 3
    #: Default backoff.
    retry_delay_ms: int = 2000
    #: Concurrency by queue name; overrides the job type's.
    queue_concurrency: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    #: Retention of ended jobs per queue, and exceptions by queue name.
    keep_completed: RetentionLimit = _COMPLETED
    keep_failed: RetentionLimit = _FAILED
    queue_keep_completed: Mapping[str, RetentionLimit] = field(default_factory=lambda: MappingProxyType({}))
    queue_keep_failed: Mapping[str, RetentionLimit] = field(default_factory=lambda: MappingProxyType({}))
    #: After how many days without a success a document, and old history, is deleted; None: never.
    keep_documents_days: int | None = None
    keep_history_days: int | None = None
    #: Python modules with the user's job types.
    modules: tuple[str, ...] = ()
    eve_client_id: str = ""
    eve_client_secret: SecretStr = SecretStr("")
    esi_base_url: str = "https://esi.evetech.net"
    sso_base_url: str = "https://login.eveonline.com"
    esi_user_agent: str = DEFAULT_USER_AGENT
    #: The most requests to ESI under way at a time, in all processes together.
    esi_concurrency: int = 32
    #: Keys for the stored tokens, newest first: the first one encrypts, all of them decrypt.
    token_keys: tuple[SecretStr, ...] = ()
    #: Access tokens of the admin; if there are none, the token in `var_dir`, and read-only access from this machine.
    admin_tokens: tuple[AdminToken, ...] = field(default=(), repr=False)
    #: Host names of the admin, in addition to loopback ones and `admin_host`.
    admin_hosts: tuple[str, ...] = ()
    #: Addresses of proxies whose X-Forwarded-* headers the admin trusts.
    admin_trusted_proxies: tuple[Network, ...] = ()
    #: The prefix that a proxy adds to the admin's paths, such as /nomad.
    admin_prefix: str = ""
    #: Whether the admin refuses every change.
    admin_read_only: bool = False
    admin_host: str = "127.0.0.1"
    admin_port: int = 3000
    #: The first port that this service's processes try for /metrics; 0 chooses a free one; None is its default.
    metrics_port: int | None = None
    #: The address to listen on; anyone who can reach the port may read the metrics.
    metrics_host: str = "127.0.0.1"
    #: Host names with dots that Prometheus uses; addresses and names without dots are always allowed.
    metrics_hosts: tuple[str, ...] = ()
    #: How long a stopping worker waits for running jobs.
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
        """Return the values that must be hidden in every text."""
        client_secret = self.eve_client_secret.get_secret_value()
        found = [client_secret, *(key.get_secret_value() for key in self.token_keys)]
        found += [*self.redis_url.secrets, *self.redis_cache_url.secrets, *self.database_url.secrets]
        if client_secret:
            found += basic_credentials(self.eve_client_id, client_secret)
        dsn = urlsplit(self.sentry_dsn.get_secret_value())
        return [*found, *(part for part in (dsn.username, dsn.password) if part)]

    @property
    def cache_url(self) -> SecretUrl:
        return self.redis_cache_url or self.redis_url

    @property
    def database_path(self) -> Path | None:
        """The file of a SQLite database, None for other databases."""
        url = self.database_url
        return Path(url.removeprefix("sqlite:///").partition("?")[0]) if url.startswith("sqlite:///") else None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings; raises `SettingsError` with every invalid variable, its value and the allowed values."""
        return _Reader(environ).read()


def _plain(secret: str | SecretStr) -> str:
    # `str()` of a `SecretUrl` would hide the password.
    return secret.get_secret_value() if isinstance(secret, SecretStr) else str.__str__(secret)


class Origin(NamedTuple):
    """Where a setting comes from: its variable, and the variables that were read for it (empty for the default)."""

    variable: str
    read: tuple[str, ...]


def read_with_origins(environ: Mapping[str, str]) -> tuple[Settings, Mapping[str, Origin]]:
    """Return the settings as `Settings.from_env` does, with the origin of each by attribute."""
    reader = _Reader(environ)
    return reader.read(), reader.origins


def is_secret(variable: str) -> bool:
    """Return whether a variable's value must be hidden; False for URLs, which hide only their password."""
    return variable.endswith(_SECRETS) and not variable.endswith("_URL")


class _Reader:
    """Reads the variables one by one and collects all problems, so that one start shows all of them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []
        self._values: dict[str, Any] = {}
        self._read: dict[str, str] = {}
        self.origins: dict[str, Origin] = {}

    def read(self) -> Settings:
        self._take("var_dir", "NOMAD_VAR_DIR", Path, "a directory's path")
        self._redis()
        self._take("redis_cache_url", "REDIS_CACHE_URL", check_redis_url, REDIS_URLS_ALLOWED)
        self._take("database_url", "DATABASE_URL", values.database_url, "a sqlite:/// or postgresql:// URL")
        self._take("concurrency", "NOMAD_CONCURRENCY", values.integer(1, 1000), "a whole number from 1 to 1000")
        self._take("max_retries", "NOMAD_MAX_RETRIES", values.integer(1, 1000), "a whole number from 1 to 1000")
        self._take(
            "retry_delay_ms", "NOMAD_RETRY_DELAY", values.integer(0, 604_800_000), "milliseconds from 0 to 604800000"
        )
        self._by_queue(
            "queue_concurrency", "NOMAD_CONCURRENCY", values.integer(1, 1000), "a whole number from 1 to 1000"
        )
        for name in ("keep_completed", "keep_failed"):
            self._take(name, f"NOMAD_{name.upper()}", values.retention, values.RETENTION_ALLOWED)
            self._by_queue(f"queue_{name}", f"NOMAD_{name.upper()}", values.retention, values.RETENTION_ALLOWED)
        self._take(
            "keep_documents_days", "NOMAD_KEEP_DOCUMENTS_DAYS", values.integer(1, 36_500), "days from 1 to 36500"
        )
        self._take(
            "keep_history_days",
            "NOMAD_KEEP_HISTORY_DAYS",
            # ESI shows 90 days: what is younger would come back.
            values.integer(100, 36_500),
            "days from 100 to 36500",
        )
        self._take("modules", "NOMAD_MODULES", values.modules, "comma-separated Python module names")
        for name in ("eve_client_id", "eve_client_secret", "esi_user_agent"):
            self._take(name, name.upper(), values.printable, "printable text without line breaks")
        self._take("sentry_dsn", "SENTRY_DSN", values.dsn, "a project's DSN, such as https://KEY@sentry.example.org/1")
        self._take("esi_base_url", "ESI_BASE_URL", values.tls_url, values.TLS_URL_ALLOWED)
        self._take("sso_base_url", "SSO_BASE_URL", values.tls_url, values.TLS_URL_ALLOWED)
        self._take("esi_concurrency", "NOMAD_ESI_CONCURRENCY", values.integer(1, 1000), "a whole number from 1 to 1000")
        self._take("token_keys", "NOMAD_TOKEN_KEYS", values.token_keys, values.TOKEN_KEYS_ALLOWED)
        self._take("admin_tokens", "NOMAD_ADMIN_TOKENS", parse_tokens, TOKENS_ALLOWED)
        self._take("admin_hosts", "NOMAD_ADMIN_HOSTS", values.hosts, "comma-separated host names without ports")
        self._take(
            "admin_trusted_proxies",
            "NOMAD_ADMIN_TRUSTED_PROXIES",
            parse_networks,
            "comma-separated addresses or networks, such as 127.0.0.1,10.0.0.0/8",
        )
        self._take(
            "admin_prefix", "ADMIN_PREFIX", parse_prefix, "a path such as /nomad that does not begin with /admin"
        )
        self._take("admin_read_only", "NOMAD_ADMIN_READ_ONLY", values.flag, "1 or 0")
        self._take("admin_host", "ADMIN_HOST", values.listening, "a host name or address")
        self._take("admin_port", "ADMIN_PORT", values.integer(0, 65535), "a port from 0 to 65535")
        self._take("metrics_host", "NOMAD_METRICS_HOST", values.listening, "an address of this machine, or 0.0.0.0")
        self._take("metrics_hosts", "NOMAD_METRICS_HOSTS", values.hosts, "comma-separated host names without ports")
        self._take("metrics_port", "NOMAD_METRICS_PORT", values.integer(0, 65535), "a port from 0 to 65535")
        self._take("shutdown_ms", "NOMAD_SHUTDOWN_MS", values.integer(0, 3_600_000), "milliseconds from 0 to 3600000")
        self._take("log_format", "LOG_FORMAT", values.one_of("logfmt", "json"), "logfmt or json")
        self._take("log_level", "LOG_LEVEL", values.one_of(*_LOG_LEVELS), ", ".join(_LOG_LEVELS))
        if self._problems:
            raise SettingsError(self._problems)
        return Settings(**self._values)

    def _redis(self) -> None:
        parts = [n for n in ("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_DB") if self._environ.get(n)]
        if self._environ.get("REDIS_URL") and parts:
            self._problems.append(f"REDIS_URL and {', '.join(parts)} are both set; allowed: one or the other")
            return
        self._take("redis_url", "REDIS_URL", check_redis_url, REDIS_URLS_ALLOWED)
        self._values["redis_url_is_given"] = bool(parts or self._environ.get("REDIS_URL"))
        if not parts:
            path = self._values.get("var_dir", Settings.var_dir) / OWN_REDIS
            if not self._environ.get("REDIS_URL"):
                self._own_redis(path)
            elif self._values.get("redis_url") == _saved_url(path):
                # The programs that `nomad run all` supervises get it this way: the same Redis with the same log.
                self._values["redis_url_file"] = path
            return
        self.origins["redis_url"] = Origin("REDIS_URL", tuple(parts))
        allowed = "only a host name or address; set the rest with REDIS_PORT and REDIS_DB"
        host = self._one("REDIS_HOST", values.host, allowed, "localhost")
        port = self._one("REDIS_PORT", values.integer(1, 65535), "a port from 1 to 65535", 6379)
        db = self._one("REDIS_DB", values.integer(0, 1_000_000), "a database number, 0 or more", 0)
        # It may come from a file that ends with a newline; spaces may be part of it.
        password = self._environ.get("REDIS_PASSWORD", "").rstrip("\r\n")
        login = f":{quote(password, safe='')}@" if password else ""
        self._values["redis_url"] = f"redis://{login}{host}:{port}/{db}"

    def _own_redis(self, path: Path) -> None:
        """Use the Redis that `nomad run all` started, if any; its password is not valid for any other Redis."""
        try:
            text = path.read_text(encoding="utf-8").strip()
            url = check_redis_url(text)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            why = str(error) if isinstance(error, OSError) else "its content is not a valid URL"
            self._problems.append(
                f"REDIS_URL is not set, and {path} cannot be used ({why}); allowed: set REDIS_URL, or "
                "delete the file: `make run` writes a new one"
            )
            return
        self._values |= {"redis_url": url, "redis_url_file": path, "redis_url_is_given": True}
        self.origins["redis_url"] = Origin("REDIS_URL", (str(path),))

    def _by_queue(self, attribute: str, prefix: str, parse: Callable[[str], T], allowed: str) -> None:
        """Read every variable of the form `PREFIX_<QUEUE>`."""
        found: dict[str, T] = {}
        for name in self._environ:
            match = re.fullmatch(rf"{prefix}_([A-Z][A-Z0-9_]*)", name)
            if match and self._environ[name]:
                value = self._one(name, parse, allowed, None)
                if value is not None:
                    found[match[1].lower().replace("_", "-")] = value
        read = tuple(sorted(self._read[name] for name in self._read if name.startswith(f"{prefix}_")))
        self.origins[attribute] = Origin(f"{prefix}_<QUEUE>", read)
        self._values[attribute] = MappingProxyType(found)

    def _take(self, attribute: str, name: str, parse: Callable[[str], Any], allowed: str) -> None:
        value = self._one(name, parse, allowed, None)
        self.origins[attribute] = Origin(name, (self._read[name],) if name in self._read else ())
        if value is not None:
            self._values[attribute] = value

    def _one(self, name: str, parse: Callable[[str], T], allowed: str, default: D) -> T | D:
        """Return the parsed variable, or `default` if it is unset, empty or invalid (then a problem is added)."""
        requested = name
        name, text = self._find(name)
        if not text:
            return default
        self._read[requested] = name
        try:
            return parse(text)
        except ValueError as error:
            shown = "(hidden)" if name.endswith(_SECRETS) else repr(text)
            why = f", and {error}" if isinstance(error, WrongValue) else ""
            self._problems.append(f"{name} is {shown}{why}; allowed: {allowed}")
            return default

    def _find(self, name: str) -> tuple[str, str]:
        text = self._environ.get(name, "").strip()
        old = _OLD_NAMES.get(name)
        if not text and old and self._environ.get(old, "").strip():
            # A warning and not an error: the old name still works.
            warnings.warn(f"{old} is the original system's name; set {name} instead", FutureWarning, stacklevel=2)
            return old, self._environ[old].strip()
        return name, text


def _saved_url(path: Path) -> str | None:
    """Return the URL in a file, or None if the file cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
