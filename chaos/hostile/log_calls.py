"""Hostile log calls: through our loggers, the standard library's, and warnings."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable
from typing import Any

from nomad_actors import logs

from . import exceptions, objects, texts

_FIELD_NAMES = (
    "error",
    "job",
    "password",
    "timestamp",
    "level",
    "module",
    "exception",
    "stack",
    "a b",
    "a=b",
    "",
    "\ud800",
)


def call(draw: random.Random) -> tuple[Callable[[], None], bool]:
    """Return a call that logs one line, and whether it uses one of our loggers."""
    make = draw.choice((_ours, _ours, _ours, _standard, _standard, _warning))
    return make(draw), make is _ours


def _ours(draw: random.Random) -> Callable[[], None]:
    fields = {_name(draw): value(draw) for _ in range(draw.choice((0, 1, 1, 3, 40)))}
    event = draw.choice((texts.text, value))(draw) if draw.random() < 0.3 else texts.text(draw)
    raised = exceptions.exception(draw) if draw.random() < 0.25 else None
    more: dict[str, Any] = {"exc_info": raised} if raised is not None else {}
    logger = logs.get_logger(draw.choice(("hostile", "hostile-job", texts.text(draw))))
    return lambda: logger.info(event, **{**fields, **more})


def _name(draw: random.Random) -> str:
    name = draw.choice((draw.choice(_FIELD_NAMES), texts.text(draw)))
    # These are parameters of the call itself.
    return name if name not in ("event", "exc_info", "stack_info", "stacklevel", "self") else "field"


def value(draw: random.Random) -> Any:
    """Return a value that somebody may log."""
    kind = draw.random()
    if kind < 0.2:
        return exceptions.exception(draw)
    return objects.anything(draw) if kind < 0.7 else texts.text(draw)


def _standard(draw: random.Random) -> Callable[[], None]:
    message = draw.choice(("%s", "%s %s", "%d", "%r", "%(a)s", "%", "100%", "%z", "no arguments", texts.text(draw)))
    arguments = draw.choice(((), (value(draw),), (value(draw), value(draw)), ({"a": value(draw)},)))
    extra = {f"x_{number}": value(draw) for number in range(draw.choice((0, 0, 1)))}
    raised = exceptions.exception(draw) if draw.random() < 0.25 else None
    message_or_value = draw.choice((message, message, value(draw)))
    logger = logging.getLogger("hostile.standard")
    return lambda: logger.warning(message_or_value, *arguments, extra=extra, exc_info=raised)


def _warning(draw: random.Random) -> Callable[[], None]:
    message = draw.choice((texts.text(draw), UserWarning(texts.text(draw)), UserWarning(objects.anything(draw))))

    def warn() -> None:
        with warnings.catch_warnings():
            logging.captureWarnings(True)
            warnings.simplefilter("always")
            try:
                warnings.warn(message, stacklevel=1)
            finally:
                logging.captureWarnings(False)

    return warn
