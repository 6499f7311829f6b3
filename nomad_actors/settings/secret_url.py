"""A URL that hides its password when it is printed."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

from ..logs.redaction import HIDDEN
from ..logs.secret_names import is_secret_name

#: A password may contain characters that otherwise end a host name, a slash or even a question mark.
_LOGIN = re.compile(r"([\w+.-]+://)([^?]*|[^=@]*)@(.*)", re.DOTALL)
_OPTION = re.compile(r"(?<=[?&])([^=&#]+)=([^&#]*)")
#: A longer user name without a password is a key, as in a DSN.
_MAX_USER_CHARS = 15


class SecretUrl(str):
    """A URL that libraries can connect to, but whose `str`, `repr` and format hide the password.

    Strings derived from it (a slice, a concatenation) are plain `str`.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return repr(self.shown)

    def __format__(self, spec: str) -> str:
        return format(self.shown, spec)

    @property
    def shown(self) -> str:
        """The URL with its password and the values of secret options hidden."""
        scheme, login, rest = self._parts()
        user, colon, _ = login.partition(":")
        if colon:
            login = f"{user}:{HIDDEN}"
        elif len(login) > _MAX_USER_CHARS and "/" not in login:
            login = HIDDEN
        return f"{scheme}{login}{'@' if login else ''}{_OPTION.sub(_without_secret, rest)}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Its secrets, as written and percent-decoded."""
        _, login, rest = self._parts()
        found = [login.partition(":")[2]]
        found += [value for name, value in parse_qsl(rest.partition("?")[2]) if is_secret_name(name)]
        return tuple(dict.fromkeys(form for each in found if each for form in (each, unquote(each))))

    def _parts(self) -> tuple[str, str, str]:
        plain = str.__str__(self)
        found = _LOGIN.fullmatch(plain)
        return (found[1], found[2], found[3]) if found else ("", "", plain)


def _without_secret(option: re.Match[str]) -> str:
    return f"{option[1]}={HIDDEN}" if is_secret_name(option[1]) else option[0]
