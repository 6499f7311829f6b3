"""Errors hang below one base for the broker and one for the rest, as drawn at the heads of the files that hold them."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import admin
import nomad_actors
from nomad_actors import errors
from nomad_actors.broker import errors as broker_errors
from nomad_actors.esi import errors as esi_errors
from nomad_actors.processes.program import ProgramExit

#: These end a job or a program, and no `except Exception` on the way may stop them.
NOT_EXCEPTIONS = {broker_errors.Cancelled, ProgramExit}
_LINE = re.compile(r"^((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+)", re.MULTILINE)


def defined() -> Iterator[type[BaseException]]:
    """Yield every exception class that a module of ours defines."""
    for package in (nomad_actors, admin):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name.endswith("__main__") or ".migrations." in found.name:
                continue
            for each in vars(importlib.import_module(found.name)).values():
                if isinstance(each, type) and issubclass(each, BaseException) and each.__module__ == found.name:
                    yield each


def drawn(text: str) -> set[tuple[str, str]]:
    """Return the pairs of parent and child that a drawing shows."""
    pairs, path = set(), list[str]()
    tree = re.search(r"^\w+\n(?:[│├└ ].*\n)+", text, re.MULTILINE)
    assert tree
    for branch, name in _LINE.findall(tree[0]):
        depth = len(branch) // 4
        path[depth:] = [name]
        if depth:
            pairs.add((path[depth - 1], name))
    return pairs


def below(base: type[BaseException]) -> set[tuple[str, str]]:
    return {
        (parent.__name__, each.__name__)
        for each in defined()
        for parent in each.__bases__
        if issubclass(each, base) and issubclass(parent, base)
    }


def test_every_error_has_one_of_two_bases() -> None:
    strays = {each for each in defined() if not issubclass(each, errors.NomadError | broker_errors.BrokerError)}
    assert strays == NOT_EXCEPTIONS
    assert not any(issubclass(each, Exception) for each in NOT_EXCEPTIONS)


@pytest.mark.parametrize(
    ("module", "base"), [(errors, errors.NomadError), (broker_errors, broker_errors.BrokerError)], ids=["all", "broker"]
)
def test_the_tree_at_the_head_of_the_file_is_the_tree_of_the_classes(module: object, base: type[BaseException]) -> None:
    assert drawn(module.__doc__ or "") == below(base)


def test_the_tree_of_esis_errors_is_a_part_of_the_whole() -> None:
    of_esi = {each.__name__ for each in defined() if each.__module__ == esi_errors.__name__}
    shown = drawn(esi_errors.__doc__ or "")
    assert {child for _, child in shown} == of_esi
    assert shown <= drawn(errors.__doc__ or "")


def test_an_error_that_takes_anothers_place_is_that_one_too() -> None:
    from dramatiq.errors import BrokerConnectionError, DecodeError
    from dramatiq.middleware import Interrupt, SkipMessage

    assert issubclass(broker_errors.RedisUnavailable, BrokerConnectionError)
    assert issubclass(broker_errors.UnreadableBody, DecodeError)
    assert issubclass(broker_errors.Defer, SkipMessage)
    assert issubclass(broker_errors.Cancelled, Interrupt)
