"""Reads logins to import from CSV or JSON, and finds everything that is wrong with them before any is used.

No message contains a value of the file: in a file with wrong columns any of them may be a token.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Annotated, Any, TextIO

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..errors import BadInput
from ..store import NewLogin

MAX_LOGINS = 100_000
#: JSON is read whole.
_MAX_JSON_CHARACTERS = 64 * 1024 * 1024
_MAX_BIGINT = 2**63 - 1
#: Printable ASCII without spaces, as SSO's hashes, scopes and tokens are.
_WORD = r"^[\x21-\x7e]+$"


def _split(value: Any) -> Any:
    return value.split() if isinstance(value, str) else value


def _printable(value: Any) -> Any:
    if isinstance(value, str) and not value.isprintable():
        raise ValueError
    return value


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    character_id: int = Field(gt=0, le=_MAX_BIGINT)
    user_id: int = Field(ge=-_MAX_BIGINT, le=_MAX_BIGINT)
    name: Annotated[str, BeforeValidator(_printable)] = Field(min_length=1, max_length=100)
    owner_hash: str = Field(pattern=r"^[\x21-\x7e]*$", max_length=200)
    scopes: Annotated[list[Annotated[str, Field(pattern=_WORD, max_length=200)]], BeforeValidator(_split)]
    refresh_token: str = Field(pattern=_WORD, max_length=10_000)


#: By field: what it may contain.
_ALLOWED = {
    "character_id": "a whole number from 1 to 2^63-1",
    "user_id": "a whole number of at most 64 bits",
    "name": "1 to 100 printable characters",
    "owner_hash": "the `owner` of SSO's token, up to 200 ASCII characters, or empty if unknown",
    "scopes": "names separated by spaces; in JSON also a list of names",
    "refresh_token": "ASCII characters without spaces",
}
FIELDS = tuple(_ALLOWED)


@dataclass
class LoginFile:
    """The valid logins of a file, and a message for each line that is not valid."""

    logins: list[NewLogin] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_logins(text: TextIO) -> LoginFile:
    """Read CSV with a first line of field names, a JSON array of objects, or a JSON object a line.

    Raises `BadInput` if the text is none of these, is not UTF-8, or has more than `MAX_LOGINS` logins.
    """
    try:
        return _checked(_records(text))
    except UnicodeDecodeError:
        raise BadInput("the file is not text in UTF-8 (allowed: CSV or JSON in UTF-8)") from None


def _checked(records: Iterable[tuple[str, Any]]) -> LoginFile:
    found, lines = LoginFile(), dict[int, str]()
    for number, (where, record) in enumerate(records, 1):
        if number > MAX_LOGINS:
            raise BadInput(f"the file has too many logins (allowed: {MAX_LOGINS} in one import)")
        if isinstance(record, _Unreadable):
            found.problems.append(f"{where}: {record}")
            continue
        try:
            entry = _Entry.model_validate(record)
        except ValidationError as error:
            found.problems.append(f"{where}: {_reasons(error)}")
            continue
        first = lines.setdefault(entry.character_id, where)
        if first != where:
            found.problems.append(f"{where}: character {entry.character_id} is on {first} too (allowed: once)")
        found.logins.append(NewLogin(**entry.model_dump()))
    return found


def _reasons(error: ValidationError) -> str:
    wrong = dict.fromkeys(str(each["loc"][0]) if each["loc"] else "" for each in error.errors(include_input=False))
    known = [f"{name} is missing or invalid (allowed: {_ALLOWED[name]})" for name in wrong if name in _ALLOWED]
    others = [] if len(known) == len(wrong) else [f"it has other fields (allowed: {', '.join(FIELDS)})"]
    return "; ".join([*known, *others])


class _Unreadable(str):
    """Why a line has no record."""


def _records(text: TextIO) -> Iterator[tuple[str, Any]]:
    """Yield each record with the line or entry that it is from."""
    blank, first = 0, text.readline(_MAX_JSON_CHARACTERS + 1)
    while first and not first.strip():
        blank, first = blank + 1, text.readline(_MAX_JSON_CHARACTERS + 1)
    if not first:
        raise BadInput("the file is empty (allowed: CSV with a first line of field names, or JSON)")
    if first.lstrip().startswith("["):
        return _json_array(first + text.read(_MAX_JSON_CHARACTERS + 1))
    lines = chain([first], text)
    return _json_lines(lines, blank) if first.lstrip().startswith("{") else _csv_rows(lines, blank)


def _json_array(text: str) -> Iterator[tuple[str, Any]]:
    if len(text) > _MAX_JSON_CHARACTERS:
        raise BadInput("the JSON is too long (allowed: 64 MiB in one array; a JSON object a line has no limit)")
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise BadInput(f"the file is not valid JSON{where} (allowed: one array of objects)") from None
    for number, record in enumerate(records, 1):
        yield f"entry {number}", record if isinstance(record, dict) else _Unreadable("it is not an object")


def _json_lines(lines: Iterable[str], blank: int) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(lines, blank + 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        problem = _Unreadable("it is not a JSON object (allowed: one object a line, or one array)")
        yield f"line {number}", record if isinstance(record, dict) else problem


def _csv_rows(lines: Iterable[str], blank: int) -> Iterator[tuple[str, Any]]:
    rows = csv.reader(lines, strict=True)
    try:
        names = next(rows)
        if sorted(names) != sorted(FIELDS):
            raise BadInput(f"the first line has not the names of the fields (allowed: {','.join(FIELDS)})")
        for row in rows:
            where = f"line {rows.line_num + blank}"
            if len(row) == len(names):
                yield where, dict(zip(names, row, strict=True))
            elif row:
                yield where, _Unreadable(f"it has {len(row)} fields (allowed: {len(names)}, as in the first line)")
    except csv.Error as error:
        raise BadInput(f"line {rows.line_num + blank} is not valid CSV: {error}") from None
