"""A payload reaches the job unchanged, or is refused when its job type is declared or when a job is added."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import ipaddress
import json
import math
import pathlib
import re
import uuid
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    computed_field,
    create_model,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypedDict

from nomad_actors.errors import BadInput, BadPayload
from nomad_actors.queues.job_type import JobType, Payload, Result
from nomad_actors.queues.payloads.difference import difference

T = TypeVar("T")


def job_type(payload: type[Payload]) -> JobType:
    return JobType(name="carry", queue="carried", payload=payload, result=Result, run=lambda _: Result())


def of(annotation: Any, default: Any = ...) -> JobType:
    """Return a job type whose payload has one field, `it`."""
    return job_type(create_model("It", __base__=Payload, it=(annotation, default)))


def carry(kind: JobType, data: Any) -> Any:
    """Return the payload that a worker gets for `data`."""
    written = json.loads(json.dumps(kind.write(data), allow_nan=False))
    return kind.read(written)


class Color(enum.Enum):
    RED = "red"


class Rank(enum.IntEnum):
    FIRST = 1


class Word(enum.StrEnum):
    ONE = "one"


class Point(BaseModel):
    x: int
    y: int = 0


class Point3(Point):
    z: int = 0


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    bones: list[int] = Field(default=[])


class Box(BaseModel, Generic[T]):
    content: T


class Numbers(RootModel[list[int]]):
    pass


class Tree(BaseModel):
    name: str
    branches: list[Tree] = Field(default=[])


class Pair(NamedTuple):
    left: int
    right: str


class Typed(TypedDict, total=False):
    a: int


@dataclasses.dataclass
class Plain:
    a: int
    b: dt.date | None = None


@pydantic_dataclass
class Checked:
    a: int = Field(validation_alias="A", serialization_alias="aa")


class Aliased(BaseModel):
    some_name: int = Field(alias="someName")


BERLIN = ZoneInfo("Europe/Berlin")
CARRIED: list[tuple[Any, Any]] = [
    (str, "ü \0 \N{PILE OF POO} \u2028"),
    (int, 2**53 + 1),
    (int, -(2**63) - 1),
    (int, 10**4000),
    (float, 0.1),
    (float, -0.0),
    (float, 5e-324),
    (float | None, None),
    (int | str, "5"),
    (int | str, 5),
    (int | float, 5.0),
    (bool | int, True),
    (Decimal, Decimal("0.10")),
    (Decimal, Decimal(10) ** 50),
    (bytes, "ü".encode()),
    (Base64Bytes, b"aGk="),
    (uuid.UUID, uuid.UUID(int=7)),
    (dt.date, dt.date(2026, 11, 29)),
    (dt.time, dt.time(1, 2, 3, 4)),
    (dt.datetime, dt.datetime(2026, 11, 29, 1, 2, 3, 4)),
    (AwareDatetime, dt.datetime(2026, 11, 29, 1, 2, tzinfo=BERLIN)),
    (dt.timedelta, dt.timedelta(days=-3, microseconds=1)),
    (Color, Color.RED),
    (Rank, Rank.FIRST),
    (Word | None, Word.ONE),
    (Literal["a", 1, True], True),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2)),
    (set[int], {1, 2}),
    (frozenset[Color], frozenset({Color.RED})),
    (deque[int], deque([1])),
    (list[Decimal], [Decimal(1)]),
    (dict[str, int], {"": 1, "a.b": 2}),
    (dict[int, str], {1: "a", -2: "b"}),
    (dict[uuid.UUID, int], {uuid.UUID(int=7): 1}),
    (dict[dt.date, Color], {dt.date(2026, 1, 1): Color.RED}),
    (OrderedDict[str, int], OrderedDict(b=1, a=2)),
    (defaultdict[str, list[int]], defaultdict(list, a=[1])),
    (pathlib.Path, pathlib.Path("/a/b")),
    (ipaddress.IPv4Network, ipaddress.IPv4Network("10.0.0.0/8")),
    (re.Pattern[str], re.compile("a+")),
    (Point, Point(x=1)),
    (list[Point | None], [Point(x=1, y=2), None]),
    (dict[str, list[Point]], {"a": [Point(x=1)]}),
    (Box[dict[str, Point]], Box(content={"a": Point(x=1)})),
    (Numbers, Numbers([1, 2])),
    (Tree, Tree(name="a", branches=[Tree(name="b")])),
    (Cat | Dog, Dog(bones=[1])),
    (Annotated[Cat | Dog, Field(discriminator="kind")], Cat(lives=1)),
    (Plain, Plain(1, dt.date(2026, 1, 1))),
    (Checked, Checked(A=1)),
    (Pair, Pair(1, "a")),
    (Typed, {"a": 1}),
    (Json[list[int]], "[1, 2]"),
    (list[Json[Any]], ['{"a": 1}']),
    (Aliased, {"someName": 3}),
    (Any, {"a": [1, None, True, "x", {"b": 0.5}]}),
    (Any, Word.ONE),
    (complex, 1 + 2j),
    (Annotated[list[int], Field(default_factory=list)], [1]),
]


@pytest.mark.parametrize(("annotation", "value"), CARRIED, ids=lambda value: re.sub(r"\W+", "_", repr(value))[:40])
def test_what_json_can_represent_arrives_unchanged(annotation: Any, value: Any) -> None:
    kind = of(annotation)
    sent = kind.validate({"it": value})
    arrived = carry(kind, {"it": value})
    assert difference(sent, arrived) is None
    assert repr(sent.it) == repr(arrived.it) or sent.it == arrived.it  # type: ignore[attr-defined]
    assert difference(sent, carry(kind, sent)) is None


class Swapped(Payload):
    """Each field has the other's name for an alias, and one has several."""

    a: int = Field(alias="b")
    b: int = Field(alias="a")
    c: int = Field(default=0, validation_alias=AliasChoices("cc", AliasPath("path", 0)), serialization_alias="out")


class Camel(Payload):
    model_config = ConfigDict(alias_generator=to_camel, serialize_by_alias=True)

    some_name: int
    inner: list[Aliased] = Field(default=[])


def test_callers_may_use_aliases_but_messages_contain_names() -> None:
    swapped = job_type(Swapped)
    assert swapped.write({"a": 1, "b": 2, "path": [3]}) == {"a": 2, "b": 1, "c": 3}
    assert carry(swapped, {"a": 1, "b": 2, "cc": 3}) == Swapped.model_validate({"a": 1, "b": 2, "cc": 3})
    camel = job_type(Camel)
    written = {"some_name": 1, "inner": [{"some_name": 2}]}
    assert camel.write({"someName": 1, "inner": [{"someName": 2}]}) == written
    assert camel.write(written) == written
    assert carry(camel, written).inner[0].some_name == 2


class Computed(Payload):
    a: int
    _cache: int = PrivateAttr(default=5)

    @computed_field
    def double(self) -> int:
        return 2 * self.a

    def model_post_init(self, context: Any, /) -> None:
        self._cache = self.a + 1


def test_computed_fields_are_computed_again_by_the_worker() -> None:
    arrived = carry(job_type(Computed), {"a": 2})
    assert (arrived.double, arrived._cache) == (4, 3)
    assert job_type(Computed).write({"a": 2}) == {"a": 2}


def test_a_private_attribute_set_by_hand_is_refused() -> None:
    payload = Computed(a=2)
    payload._cache = 7
    with pytest.raises(BadPayload, match="_cache: 7 would arrive as 3"):
        job_type(Computed).write(payload)


class Stamped(BaseModel):
    id: uuid.UUID = Field(default_factory=uuid.uuid4)


class Made(Payload):
    id: uuid.UUID = Field(default_factory=uuid.uuid4)
    inner: Stamped = Field(default_factory=Stamped)
    given: Stamped
    number: float = 0
    tags: list[str] = Field(default_factory=list)


def test_a_default_that_is_made_anew_is_sent_with_the_job() -> None:
    kind, payload = job_type(Made), Made(given=Stamped())
    assert carry(kind, payload) == payload
    written = kind.write({"given": {}})
    assert set(written) == {"id", "inner", "given"}
    assert kind.read(written) == kind.read(written)


class Strict(Payload):
    model_config = ConfigDict(strict=True)

    day: dt.date
    pair: tuple[int, str]
    ids: set[uuid.UUID] = Field(default=set())


def test_a_strict_payload_accepts_values_of_python_and_of_json() -> None:
    kind = job_type(Strict)
    sent = {"day": dt.date(2026, 1, 2), "pair": (1, "a")}
    assert carry(kind, sent) == Strict(**sent)
    assert carry(kind, {"day": "2026-01-02", "pair": [1, "a"]}) == Strict(**sent)
    with pytest.raises(BadPayload, match=r"day: Input should be a valid date"):
        kind.write({"day": 5, "pair": (1, "a")})


class Revealed(Payload):
    """Has its own serializers, which lose nothing."""

    moment: Annotated[dt.datetime, PlainSerializer(lambda v: v.timestamp(), return_type=float)]
    point: Annotated[
        tuple[int, int], BeforeValidator(lambda v: tuple(map(int, v.split(","))) if isinstance(v, str) else v)
    ]

    @field_serializer("point")
    def _point(self, value: tuple[int, int]) -> str:
        return f"{value[0]},{value[1]}"


def test_own_serializers_are_allowed_if_the_validators_read_their_output() -> None:
    moment = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    assert job_type(Revealed).write({"moment": moment, "point": (1, 2)})["point"] == "1,2"
    assert carry(job_type(Revealed), {"moment": moment, "point": (1, 2)}).moment == moment


class Handle:
    """An object that JSON cannot represent, whose `repr` fails."""

    def __repr__(self) -> str:
        raise ValueError("no repr")


class Exiting:
    """An object whose `repr` ends the program."""

    def __repr__(self) -> str:
        raise SystemExit


class NotCarried(Payload):
    """Has fields whose values are only known when a job is added."""

    it: Any = None
    points: list[Point] = Field(default=[])
    number: float = 0
    loose: Annotated[float | None, Field(allow_inf_nan=True)] = None
    moment: Annotated[Any, PlainSerializer(lambda value: str(value))] = ""


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def looped() -> list[Any]:
    value: list[Any] = []
    value.extend([value, value])
    return value


REFUSED: list[tuple[Any, str]] = [
    ({"number": math.nan}, "number: Input should be a finite number"),
    ({"number": math.inf}, "number: Input should be a finite number"),
    ({"number": "-inf"}, "number: Input should be a finite number"),
    ({"loose": math.nan}, "loose: nan is not a number in JSON"),
    ({"loose": "inf"}, "loose: inf is not a number"),
    ({"it": math.nan}, "it: nan would arrive as None"),
    ({"it": {"a": [1, math.inf]}}, "it.a.1: inf would arrive as None"),
    ({"it": Decimal("0.5")}, "it: Decimal.* would arrive as '0.5'"),
    ({"it": (1, 2)}, r"it: \(1, 2\) would arrive as \[1, 2\]"),
    ({"it": {1: 2}}, "it: {1: 2} would arrive as {'1': 2}"),
    ({"it": {(1, 2): 3}}, r"it: {\(1, 2\): 3} would arrive as"),
    ({"it": b"a"}, "it: b'a' would arrive as 'a'"),
    ({"it": b"\xff"}, r"it: b'\\xff' cannot be written as JSON"),
    ({"it": {"deep": [b"\xff"]}}, r"it.deep.0: b'\\xff' cannot be written as JSON"),
    ({"it": dt.date(2026, 1, 1)}, "it: datetime.date.* would arrive as '2026-01-01'"),
    ({"it": object()}, "it: <object.* cannot be written as JSON"),
    ({"it": [Handle()]}, "it.0: <Handle.*> cannot be written as JSON"),
    ({"it": [Exiting()]}, r"it.0: unprintable Exiting \(SystemExit\) cannot be written as JSON"),
    ({"number": Exiting()}, r"number: .*\(got unprintable Exiting \(SystemExit\)\)"),
    ({"it": {1, 2}}, r"it: {1, 2} would arrive as \[1, 2\]"),
    ({"it": Point(x=1)}, r"it: Point\(x=1, y=0\) would arrive as {"),
    ({"it": Color.RED}, "it: <Color.RED.* would arrive as 'red'"),
    ({"it": "\ud800"}, r"it: '\\ud800' cannot be written as JSON"),
    ({"it": {"\ud800": 1}}, "it: .* cannot be written as JSON"),
    ({"it": 10**5000}, "it: .* cannot be written as JSON"),
    ({"it": nested(256)}, "it: nested too deeply"),
    ({"it": nested(205)}, "it: nested too deeply"),
    ({"it": nested(100_000)}, "it: nested too deeply"),
    ({"it": looped()}, "it: nested too deeply"),
    ({"points": [Point3(x=1, z=2)]}, "points.0: Point3.* would arrive as Point"),
    ({"points": [Point.model_construct(x="one")]}, "points.0.x: Input should be a valid integer"),
    ({"points": [{"x": 1, "zz": 2}]}, "points.0.zz: Extra inputs are not permitted"),
    ({"moment": 5}, "moment: 5 would arrive as '5'"),
    ({"unknown": 1}, "unknown: Extra inputs are not permitted"),
    (5, "payload: Input should be a valid dictionary or instance"),
    (None, "payload: Input should be a valid dictionary or instance"),
    (NotCarried.model_construct(number="x"), "number: Input should be a valid number"),
    (NotCarried().model_copy(update={"number": math.nan}), "number: "),
    (Handle(), "payload: "),
]


@pytest.mark.parametrize(("data", "why"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_value_that_would_arrive_changed_is_refused_and_named(data: Any, why: str) -> None:
    with pytest.raises(BadPayload, match=why) as refused:
        job_type(NotCarried).write(data)
    assert len(str(refused.value)) < 3000
    assert str(refused.value).encode()
    assert refused.value.accepted


class Scalars(Payload):
    """Has only JSON values, which need few checks."""

    text: str = ""
    number: int = 0
    either: int | str | None = None


@pytest.mark.parametrize("field", ["text", "either"])
def test_a_lone_surrogate_is_refused_in_plain_payloads_too(field: str) -> None:
    with pytest.raises(BadPayload, match=rf"{field}: 'a.ud800' cannot be written as JSON"):
        job_type(Scalars).write({field: "a\ud800"})
    with pytest.raises(BadPayload, match=r"number: .* cannot be written as JSON"):
        job_type(Scalars).write({"number": 10**5000})
    assert carry(job_type(Scalars), {field: "\N{PILE OF POO}"}).model_dump()[field] == "\N{PILE OF POO}"


class Adjusting(Payload):
    """Has a validator that changes its own result when it runs again."""

    n: int

    @field_validator("n")
    @classmethod
    def _more(cls, value: int) -> int:
        return value + 1


class Lossy(Payload):
    n: int

    @model_serializer
    def _form(self) -> dict[str, Any]:
        return {"n": 0}


class Listed(Payload):
    n: int

    @model_serializer
    def _form(self) -> list[int]:
        return [self.n]


class Crashing(Payload):
    n: int

    @model_validator(mode="before")
    @classmethod
    def _looks(cls, data: Any) -> Any:
        return {"n": data["number"]}


class Left(Payload):
    """Has unions whose first fitting choice is not the one that was sent."""

    n: Annotated[str | int, Field(union_mode="left_to_right")] = ""
    when: Annotated[str | dt.date, Field(union_mode="smart")] = ""
    shape: Point | Point3 = Point(x=1)


class Sub(Left):
    more: int = 1


@pytest.mark.parametrize(
    ("payload", "data", "why"),
    [
        (Adjusting, {"n": 1}, "n: 2 would arrive as 3"),
        (Lossy, {"n": 1}, "n: 1 would arrive as 0"),
        (Listed, {"n": 1}, "own serializer does not return an object"),
        (Crashing, {"n": 1}, "own code failed .KeyError"),
        (Left, {"when": dt.date(2026, 1, 1)}, "when: datetime.date.* would arrive as '2026-01-01'"),
        (Left, Sub(more=5), "payload: Sub.* would arrive as Left"),
    ],
)
def test_a_loss_by_a_payloads_own_code_is_found(payload: type[Payload], data: Any, why: str) -> None:
    with pytest.raises(BadPayload, match=why):
        job_type(payload).write(data)


class Free(BaseModel):
    model_config = ConfigDict(extra="allow")


class Initialised(BaseModel):
    a: int

    def __init__(self, **data: Any) -> None:
        super().__init__(**data)


class Excluding(BaseModel):
    a: int = Field(default=0, exclude=True)


class Arbitrary(Payload):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    it: Handle


class Rooted(RootModel[list[int]]):
    pass


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (SecretStr, "it: a secret would be stored in Redis in plain text"),
        (SecretBytes | None, "it: a secret would be stored in Redis"),
        (list[Secret[int]], "it: a secret would be stored in Redis"),
        (Box[dict[str, SecretStr]], "it.content: a secret would be stored in Redis"),
        (Annotated[int, Field(exclude=True)], "it: exclude=True"),
        (list[Excluding], "it.a: exclude=True"),
        (dict[str, Free], 'it: extra="allow"'),
        (Point | Initialised, "it: Initialised.__init__"),
        (dict[tuple[int, int], str], "it: keys of type tuple"),
        (list[dict[frozenset[int], str]], "it: keys of type frozenset"),
        (Callable[[], int], "it: a function cannot be put into a message"),
        (Iterable[int], "it: an iterator"),
        (type[int], "it: a class cannot be put into a message"),
    ],
    ids=str,
)
def test_a_payload_that_cannot_be_sent_is_refused_when_its_job_type_is_declared(annotation: Any, why: str) -> None:
    with pytest.raises(BadInput, match=re.escape(why)):
        of(annotation)


def test_other_payloads_that_are_refused() -> None:
    with pytest.raises(BadInput, match="an object that JSON cannot represent"):
        job_type(Arbitrary)
    with pytest.raises(BadInput, match="must be a subclass of Payload"):
        job_type(Rooted)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="must be a subclass of Payload"):
        job_type(Point)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="self: a field with this name"):
        job_type(create_model("Selfish", __base__=Payload, self=(int, 1)))
    with pytest.raises(BadInput, match="is not fully defined"):
        job_type(create_model("Forward", __base__=Payload, it=("NotYet", ...)))


class New(Payload):
    point: Point3
    points: list[Point3]
    by_name: dict[str, Cat | Dog] = Field(default={})
    tree: Tree | None = None
    plain: Plain | None = None
    typed: Typed | None = None
    added: int = 0


class Old(Payload):
    model_config = ConfigDict(extra="forbid")

    point: Point
    points: list[Point]
    by_name: dict[str, Cat | Dog] = Field(default={})
    tree: Tree | None = None
    plain: Plain | None = None
    typed: Typed | None = None


def test_a_worker_ignores_fields_of_a_newer_producer_at_any_depth() -> None:
    written = job_type(New).write(
        {"point": {"x": 1, "z": 2}, "points": [{"x": 1, "y": 2, "z": 3}], "by_name": {"a": {"kind": "dog"}}, "added": 1}
    )
    newer = {
        "by_name": {"a": {"kind": "dog", "colour": "red"}},
        "tree": {"name": "a", "branches": [{"name": "b", "leaves": 5}]},
        "plain": {"a": 1, "c": 2},
        "typed": {"a": 1, "c": 2},
    }
    read = job_type(Old).read({**written, **newer})
    assert read == Old(
        point=Point(x=1),
        points=[Point(x=1, y=2)],
        by_name={"a": Dog()},
        tree=Tree(name="a", branches=[Tree(name="b")]),
        plain=Plain(1),
        typed={"a": 1},
    )


@pytest.mark.parametrize(
    "newer",
    [
        {"point": {"x": 1, "z": 2}},
        {"points": [{"x": 1, "z": 3}]},
        {"by_name": {"a": {"kind": "dog", "colour": "red"}}},
        {"tree": {"name": "a", "branches": [{"name": "b", "leaves": 5}]}},
        {"plain": {"a": 1, "c": 2}},
        {"typed": {"a": 1, "c": 2}},
        {"new": 1},
    ],
    ids=str,
)
def test_a_producer_gets_an_error_for_an_unknown_field_at_any_depth(newer: dict[str, Any]) -> None:
    with pytest.raises(BadPayload, match=r"Extra inputs are not permitted|Unexpected keyword argument"):
        job_type(Old).write({"point": {"x": 1}, "points": [], **newer})
