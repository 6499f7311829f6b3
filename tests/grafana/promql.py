"""What a query of Grafana's asks Prometheus for: its metrics, and what stands around each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser

#: What Grafana puts in place of its variables: an interval (four scrapes of 15 s), or everything.
_INTERVALS = {"__rate_interval": "1m", "__interval": "1s", "__range": "1m"}
_VARIABLE = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")


@dataclass(frozen=True)
class Selector:
    """A metric in a query, with the labels that it is asked for by, and the functions around it, the nearest last."""

    name: str
    labels: frozenset[str]
    around: tuple[str, ...]


def filled_in(expression: str) -> str:
    """Return an expression as Prometheus gets it, every variable matching everything."""
    return _VARIABLE.sub(lambda match: _INTERVALS.get(match[1], ".+"), expression)


def selectors(expression: str) -> list[Selector]:
    """Return the metrics of an expression. Raises `ValueError` when it is no PromQL."""
    return list(_selectors(promql_parser.parse(filled_in(expression)), ()))


def _selectors(part: Any, around: tuple[str, ...]) -> Iterator[Selector]:
    match part:
        case promql_parser.VectorSelector():
            yield Selector(part.name, frozenset(matcher.name for matcher in part.matchers.matchers), around)
        case promql_parser.MatrixSelector():
            yield from _selectors(part.vector_selector, around)
        case promql_parser.Call():
            for argument in part.args:
                yield from _selectors(argument, (*around, part.func.name))
        case promql_parser.AggregateExpr():
            yield from _selectors(part.expr, (*around, str(part.op)))
        case promql_parser.BinaryExpr():
            yield from _selectors(part.lhs, around)
            yield from _selectors(part.rhs, around)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from _selectors(part.expr, around)
        case promql_parser.NumberLiteral():
            pass
        case _:
            raise ValueError(f"{part} is a part of PromQL that this test does not know")
