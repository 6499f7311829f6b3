"""Job types with fields of every kind, whose jobs end as their data demands."""

from __future__ import annotations

import enum
import threading
import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field, Json

from nomad_actors import Defer, JobType, Payload, PermanentError, Priority, Result, current_job

#: Set by a test to let hanging jobs continue.
gate = threading.Event()


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Order(Payload):
    """An order of one item."""

    item: str
    count: int = 1
    size: Size = Size.SMALL
    tags: tuple[str, ...] = ()
    numbers: list[int] | None = None
    gift: bool = False
    due: datetime | None = None
    day: date | None = None
    #: Has the same name as an option of the command itself.
    priority: str | None = None
    end: Literal["done", "fail", "hang", "defer"] = "done"


class Receipt(Result):
    """The order as the job received it."""

    order: dict[str, object]


def run(order: Order) -> Receipt:
    """Pack the order, and end as it demands."""
    job = current_job()
    job.progress(1, 2, "packing")
    job.log(f"packed {order.item}")
    if order.end == "fail":
        raise PermanentError(f"no {order.item} in stock")
    if order.end == "defer":
        raise Defer(600, "ESI is down")
    if order.end == "hang":
        while not gate.wait(0.02) and not job.cancelled:
            pass
    return Receipt(order=order.model_dump(mode="json"))


ORDER = JobType(
    name="order",
    queue="shop",
    payload=Order,
    result=Receipt,
    run=run,
    priority=Priority.LOW,
    attempts=2,
    concurrency=1,
    indexed=("item", "count", "gift"),
    description="Packs an order.",
)


class Parcel(Payload):
    """A parcel with types that JSON lacks."""

    weight: Decimal = Decimal(1)
    number: uuid.UUID | None = None
    label: Json[list[Any]] | None = None
    street: str = Field(default="", alias="streetName")
    sizes: list[float] = Field(default=[])
    content: Any = None


PARCEL = JobType(name="parcel", queue="shop", payload=Parcel, result=Result, run=lambda _: Result(), concurrency=1)
