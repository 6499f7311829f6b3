"""A URL that connects with its password and is shown without it."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

from ..logs.redaction import HIDDEN
from ..logs.secret_names import is_secret_name

#: A password may hold what ends a host's name elsewhere, a slash and even a question mark; options follow the host.
_LOGIN = re.compile(r"([\w+.-]+://)([^?]*|[^=@]*)@(.*)", re.DOTALL)
_OPTION = re.compile(r"(?<=[?&])([^=&#]+)=([^&#]*)")
#: A longer name without a password is a key, as in a DSN.
_MOST_OF_A_NAME = 15


class SecretUrl(str):
    """A URL, whole for the libraries that connect to it; its text, `repr` and format hide the password.

    What is made of it (a slice, a concatenation) is a plain `str`.
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
        """The URL without its password, and without the values of options that are secret."""
        scheme, login, rest = self._parts()
        user, colon, _ = login.partition(":")
        if colon:
            login = f"{user}:{HIDDEN}"
        elif len(login) > _MOST_OF_A_NAME and "/" not in login:
            login = HIDDEN
        return f"{scheme}{login}{'@' if login else ''}{_OPTION.sub(_without_secret, rest)}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What is secret in it, as it is written and as it is meant."""
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
