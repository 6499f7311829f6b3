"""Imports the modules that NOMAD_MODULES names and registers their job types and Dramatiq actors."""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
import traceback
from types import ModuleType
from typing import Any, TypeGuard

import dramatiq
from dramatiq import Actor, Broker

from ..broker.broker import JobBroker
from ..errors import BadInput, SettingsError
from ..logs.foreign_text import came_from_outside, class_name, describe_error, safe_str, traceback_of
from .job_type import JobType
from .registry import Queues

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def take_modules(modules: tuple[str, ...], registry: Queues, services: object | None) -> None:
    """Register the modules' job types, and their Dramatiq actors with the schedules of their `periodic` option.

    Raises `SettingsError` for a module that cannot be imported, or declares nothing that can be registered.
    """
    if modules and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    broker, before = registry.broker, dramatiq.broker.global_broker
    # Before the modules are imported, because their actors are declared on it.
    dramatiq.set_broker(broker)
    for name in modules:
        job_types, actors = _declared_in(_imported(name))
        try:
            for job_type in job_types:
                registry.register(job_type, services)
        except (BadInput, ValueError) as error:
            raise SettingsError([f"NOMAD_MODULES: {error}; allowed: modules with job types of other names"]) from error
        for actor in actors:
            _move(actor, before, broker)
    try:
        for actor in list(broker.actors.values()):
            if actor.actor_name not in registry.job_types:
                registry.take_plain_actor(actor)
    except BadInput as error:
        raise SettingsError([f"NOMAD_MODULES: {error}"]) from error


def _move(actor: Actor[Any, Any], before: Broker | None, broker: JobBroker) -> None:
    """Declare an actor on this application's broker if its module was imported for the previous broker."""
    if actor.broker is before and isinstance(before, JobBroker) and before is not broker:
        actor.broker = broker
        broker.declare_actor(actor)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    # A module is somebody else's code: it may raise anything, or exit.
    except BaseException as error:
        if came_from_outside(error):
            raise
        why = f"{_described(error)}{_location_of(error)}"
        problem = f"NOMAD_MODULES names {name!r}, which cannot be imported ({why})"
        raise SettingsError([f"{problem}; allowed: modules with a JobType or an actor"]) from error


def _described(error: BaseException) -> str:
    # Use only `msg`: the text also names the file and line, which are added to every error.
    return f"{class_name(error)}: {safe_str(error.msg)}" if _is_syntax_error(error) else describe_error(error)


def _is_syntax_error(error: BaseException) -> TypeGuard[SyntaxError]:
    """Return True for Python's own classes only: a subclass may have properties that raise."""
    return type(error) in (SyntaxError, IndentationError, TabError)


def _location_of(error: BaseException) -> str:
    if _is_syntax_error(error):
        return f", {safe_str(error.filename)}:{safe_str(error.lineno)}"
    # The first frames are this file's and importlib's.
    frames = [frame for frame in traceback.extract_tb(traceback_of(error))[1:] if not frame.filename.startswith("<")]
    frames = [frame for frame in frames if frame.filename != importlib.__file__]
    own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)] or frames
    return f", {own[-1].filename}:{own[-1].lineno}" if own else ""


def _declared_in(module: ModuleType) -> tuple[list[JobType], list[Actor[Any, Any]]]:
    # Not `isinstance`: a module may contain a proxy whose `__class__` cannot be read yet.
    job_types = [value for value in vars(module).values() if issubclass(type(value), JobType)]
    actors = [value for value in vars(module).values() if issubclass(type(value), Actor)]
    if not job_types and not actors:
        problem = f"NOMAD_MODULES names {module.__name__!r}, which declares no JobType and no actor"
        raise SettingsError([f"{problem}; allowed: modules with a JobType or a Dramatiq actor"])
    return job_types, actors
