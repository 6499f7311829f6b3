"""Command-line options for a payload's fields; the payload itself validates the values."""

from __future__ import annotations

import enum
import json
import types
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin
from uuid import UUID

import typer
from pydantic import BaseModel, Json
from pydantic.fields import FieldInfo

from ..logs.json_text import one_line

_LISTS = (list, tuple, set, frozenset)
#: Types whose values are passed to the payload as the text of the command line.
_TEXTUAL = (str, bytes, date, datetime, time, timedelta, Decimal, UUID, PurePath)
_WORDS = {int: "INTEGER", float: "NUMBER", str: "TEXT", bool: "BOOLEAN", datetime: "DATE-TIME", date: "DATE"}


@dataclass(frozen=True)
class PayloadOption:
    """One field as an option; typer reads its annotation."""

    field: str
    parameter: str
    annotation: Any
    textual: bool

    def parse(self, value: Any) -> Any:
        """Return the option's value in the form that the payload takes."""
        if isinstance(value, list | tuple):
            return [self._one(item) for item in value]
        return self._one(value)

    def _one(self, value: Any) -> Any:
        if isinstance(value, bool) or self.textual:
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            # The payload's error names the field, the value and what is allowed.
            return value


def payload_options(payload: type[BaseModel], *, taken: Collection[str]) -> list[PayloadOption]:
    """Return an option for each field; one whose name is `taken` by the command is called `--field-<name>`."""
    return [_option(name, field, taken) for name, field in payload.model_fields.items()]


def _option(name: str, field: FieldInfo, taken: Collection[str]) -> PayloadOption:
    # The value of a Json field is itself JSON text.
    is_json = any(map(_is_json, field.metadata))
    kinds = [str] if is_json else list(_kinds(field.annotation))
    is_list = any((get_origin(kind) or kind) in _LISTS for kind in kinds)
    items = [item for kind in kinds for item in (_items(kind) if is_list else [kind])]
    word = name.replace("_", "-")
    flag = f"--field-{word}" if word in taken else f"--{word}"
    flags = [flag] if flag == f"--{name}" or word in taken else [flag, f"--{name}"]
    is_flag = items == [bool] and not is_list
    if is_flag:
        flags = [f"{flag}/--no-{word}"]
    info = typer.Option(*flags, metavar=None if is_flag else _metavar(items), help=_help(field, is_list))
    kind: Any = bool if is_flag else list[str] if is_list else str
    textual = bool(items) and all(_is_textual(item) for item in items)
    return PayloadOption(name, f"field_{name}", Annotated[kind | None, info], textual)


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the types of value that an annotation allows, except None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        kind, *marks = get_args(annotation)
        yield from [str] if any(map(_is_json, marks)) else _kinds(kind)
    elif origin in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from _kinds(each)
    elif annotation is not type(None):
        yield str if _is_json(annotation) else annotation


def _is_json(mark: object) -> bool:
    """Return True for pydantic's `Json`, which is a class at run time and an annotation for a type checker."""
    return mark is Json or isinstance(mark, cast(type, Json))


def _items(kind: Any) -> list[Any]:
    return [item for each in get_args(kind) if each is not Ellipsis for item in _kinds(each)] or [str]


def _choices(kind: Any) -> list[Any]:
    """Return the values of a `Literal` or an enum; none for other types."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [member.value for member in kind] if isinstance(kind, type) and issubclass(kind, enum.Enum) else []


def _is_textual(kind: Any) -> bool:
    if choices := _choices(kind):
        return all(isinstance(value, str) for value in choices)
    return isinstance(kind, type) and issubclass(kind, _TEXTUAL)


def _metavar(kinds: list[Any]) -> str:
    words = ("|".join(map(str, _choices(kind))) or _WORDS.get(kind, "JSON") for kind in kinds)
    return "|".join(dict.fromkeys(words)) or "VALUE"


def _help(field: FieldInfo, is_list: bool) -> str:
    texts = [field.description or ""]
    if is_list:
        texts.append("May be repeated.")
    if field.is_required():
        texts.append("[required]")
    elif field.default_factory is None and field.default is not None:
        default = field.default.value if isinstance(field.default, enum.Enum) else field.default
        texts.append(f"[default: {one_line(default)}]")
    return " ".join(part for part in texts if part)
