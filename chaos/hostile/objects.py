"""Hostile Python values: data without a JSON form, and objects whose own methods fail."""

from __future__ import annotations

import decimal
import enum
import math
import random
import threading
import uuid
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from . import texts

NUMBERS: Sequence[Any] = [
    *(0, 1, -1, 2, 5, 6, 7, 255, 256, 1000, 1001, 65_535, 65_536, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64),
    *(-(2**63) - 1, 10**20, 10**400, -(10**5_000), True, False, 0.0, -0.0, 0.5, 1.0, 1e-320, 1e15, 1e16, 1e308),
    *(math.nan, math.inf, -math.inf, 315_360_000_000, 315_360_000_001, 1j),
]
#: Nesting depths below and above the limits of Python, pydantic, json and C stacks.
DEPTHS = (10, 90, 130, 250, 256, 300, 900, 1_100, 5_000, 100_000)
#: Methods that may fail; even code that only inspects an object reads `__class__` and `__dict__`.
_METHODS = (
    *("__repr__", "__str__", "__format__", "__len__", "__iter__", "__hash__", "__eq__", "__bool__", "__contains__"),
    *("__getattr__", "__getattribute__", "__getitem__", "__int__", "__index__", "__float__", "__reduce_ex__", "__lt__"),
    *("__dir__", "__sizeof__", "__fspath__", "__bytes__", "__copy__", "__deepcopy__", "keys", "items", "__call__"),
)


class Color(enum.Enum):
    """An enumeration whose value has no JSON form."""

    RED = object()


def failing(method: str, error: BaseException, *bases: type) -> type:
    """Return a class with a method that raises."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return type("Failing", bases or (object,), {method: fail})


def own_error(draw: random.Random) -> Exception:
    """Return an error for a caller's object to raise."""
    kinds: Sequence[Callable[[], Exception]] = (
        lambda: ValueError("an object's own"),
        lambda: TypeError("an object's own"),
        lambda: AttributeError("x"),
        lambda: KeyError("x"),
        lambda: RecursionError("too deep"),
        lambda: MemoryError(),
        lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
        lambda: StopIteration(1),
        lambda: OSError(24, "Too many open files"),
        lambda: ZeroDivisionError(texts.text(draw)),
        lambda: failing("__str__", ValueError("and its text fails too"), Exception)(),
    )
    return draw.choice(kinds)()


def failing_object(draw: random.Random, error: BaseException | None = None) -> Any:
    """Return an object, perhaps of a subclass of a builtin type, with methods that raise or return invalid values."""
    error = error or own_error(draw)
    base, arguments = draw.choice(
        [(object, ()), (object, ()), (str, ("abc",)), (int, (5,)), (dict, ({"a": 1},)), (list, ([1],)), (float, (1.5,))]
    )
    methods = draw.sample(_METHODS, draw.choice((1, 1, 2, 4)))
    wrong = draw.choice((5, b"bytes", None, "x" * 1_000_000, "\ud800", NotImplemented))

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    does = fail if draw.random() < 0.75 else lambda *_, **__: wrong
    namespace: dict[str, Any] = dict.fromkeys(methods, does)
    # A class with its own `__eq__` would have no hash.
    namespace.setdefault("__hash__", base.__hash__)
    if draw.random() < 0.1:
        namespace["__class__"] = property(does)
    return type(draw.choice(("Failing", "Na\nme", "é𐀀 ", "x" * 3_000)), (base,), namespace)(*arguments)


def nested(draw: random.Random, depth: int | None = None) -> Any:
    """Return nested lists or dictionaries."""
    value: Any = draw.choice((None, 1, "x", []))
    wrap: Callable[[Any], Any] = draw.choice((lambda each: [each], lambda each: {"a": each}, lambda each: [{"": each}]))
    for _ in range(depth or draw.choice(DEPTHS)):
        value = wrap(value)
    return value


def cyclic(draw: random.Random) -> Any:
    """Return a container that contains itself."""
    ring: list[Any] = []
    ring.append(draw.choice([ring, {"again": ring}, (ring,), [[ring]]]))
    return ring


def json_value(draw: random.Random, depth: int = 3) -> Any:
    """Return a value of JSON types with any numbers, texts and keys."""
    kind = draw.random()
    if depth > 0 and kind < 0.25:
        return [json_value(draw, depth - 1) for _ in range(draw.randint(0, 4))]
    if depth > 0 and kind < 0.5:
        return {texts.text(draw): json_value(draw, depth - 1) for _ in range(draw.randint(0, 4))}
    if kind < 0.7:
        return draw.choice(NUMBERS[:-1])
    return draw.choice((None, True, texts.text(draw), texts.text(draw)))


def anything(draw: random.Random) -> Any:
    """Return any Python value."""
    return draw.choice(
        (json_value, json_value, texts.text, _number, failing_object, failing_object, _plain_object, _container, nested)
    )(draw)


def _number(draw: random.Random) -> Any:
    return draw.choice(NUMBERS)


def _plain_object(draw: random.Random) -> Any:
    makers: Sequence[Callable[[], Any]] = (
        object,
        lambda: object,
        lambda: print,
        lambda: random,
        threading.Lock,
        lambda: Color.RED,
        lambda: (each for each in (1, 2)),
        lambda: decimal.Decimal(draw.choice(("NaN", "sNaN", "1E+999999", "-0"))),
        lambda: b"\xff\xfe\x00",
        lambda: bytearray(b"\x80"),
        lambda: memoryview(b"\x80"),
        lambda: datetime.max,
        lambda: datetime.min.replace(tzinfo=UTC),
        lambda: date.max,
        lambda: timedelta.max,
        lambda: uuid.UUID(int=draw.getrandbits(128)),
        lambda: Path("/\udcff"),
        lambda: range(10**12),
        lambda: slice(1, 2),
        lambda: ...,
        lambda: NotImplemented,
        lambda: ValueError("as a value"),
    )
    return draw.choice(makers)()


def _container(draw: random.Random) -> Any:
    inner = draw.choice((json_value, failing_object, _plain_object, nested))
    makers: Sequence[Callable[[], Any]] = (
        lambda: [inner(draw)],
        lambda: (inner(draw), 1),
        lambda: {"a": inner(draw)},
        lambda: {1: "number", None: "none", (1, 2): "tuple", b"\xff": "bytes", "a": inner(draw)},
        lambda: {math.nan: 1, True: 2, 1.5: 3},
        lambda: {texts.text(draw): inner(draw)},
        lambda: {1, "a", None},
        lambda: frozenset({1}),
        lambda: OrderedDict(a=inner(draw)),
        lambda: defaultdict(list, a=[inner(draw)]),
        lambda: deque([inner(draw)]),
        lambda: ["x"] * 50_000,
        lambda: "x" * 2_000_000,
        lambda: cyclic(draw),
        dict,
        list,
        tuple,
    )
    return draw.choice(makers)()
