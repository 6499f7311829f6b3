"""Parses the queries of dashboards: their metrics, and the functions around each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser

#: How Grafana replaces its variables: by an interval (four scrapes of 15 s); all others match everything.
_INTERVALS = {"__rate_interval": "1m", "__interval": "1s", "__range": "1m"}
_VARIABLE = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")


@dataclass(frozen=True)
class Selector:
    """A metric in a query with its label matchers and the functions around it, innermost last."""

    name: str
    labels: frozenset[str]
    functions: tuple[str, ...]


def with_variables(expression: str) -> str:
    """Return an expression as Prometheus gets it, with every variable matching everything."""
    return _VARIABLE.sub(lambda match: _INTERVALS.get(match[1], ".+"), expression)


def selectors(expression: str) -> list[Selector]:
    """Return the metrics of an expression. Raises `ValueError` for invalid PromQL."""
    return list(_selectors(promql_parser.parse(with_variables(expression)), ()))


def _selectors(node: Any, functions: tuple[str, ...]) -> Iterator[Selector]:
    match node:
        case promql_parser.VectorSelector():
            yield Selector(node.name, frozenset(matcher.name for matcher in node.matchers.matchers), functions)
        case promql_parser.MatrixSelector():
            yield from _selectors(node.vector_selector, functions)
        case promql_parser.Call():
            for argument in node.args:
                yield from _selectors(argument, (*functions, node.func.name))
        case promql_parser.AggregateExpr():
            yield from _selectors(node.expr, (*functions, str(node.op)))
        case promql_parser.BinaryExpr():
            yield from _selectors(node.lhs, functions)
            yield from _selectors(node.rhs, functions)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from _selectors(node.expr, functions)
        case promql_parser.NumberLiteral():
            pass
        case _:
            raise ValueError(f"{node} is a part of PromQL that this test does not know")
