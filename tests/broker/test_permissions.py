"""What Redis refuses for good is found out before a worker counts on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from nomad_actors.broker import JobBroker
from nomad_actors.broker.errors import RedisUnavailable, Refusal
from nomad_actors.broker.scripts import scripts
from nomad_actors.processes.local_redis import LocalRedis


def used_by(text: str) -> set[str]:
    return set(re.findall(r"(?:redis\.p?call|try)\('([A-Z]+)'", text))


def test_every_command_of_a_script_is_tried() -> None:
    tried = used_by(scripts()["permissions"].source.decode())
    assert tried
    for name, script in scripts().items():
        assert used_by(script.source.decode()) <= tried, name


def test_an_unrestricted_user_is_refused_nothing_and_no_key_stays(broker: JobBroker, redis_client: redis.Redis) -> None:
    assert broker.refused_commands() == []
    assert redis_client.keys("*probe*") == []


@pytest.fixture
def as_user(redis_client: redis.Redis, redis_url: str) -> Iterator[JobBroker]:
    """A broker of a user that a test gives its rights."""
    redis_client.acl_setuser("limited", enabled=True, passwords=["+secret"], reset=True)
    broker = JobBroker(url=redis_url.replace("redis://", "redis://limited:secret@"))
    yield broker
    broker.close()
    redis_client.acl_deluser("limited")


@pytest.mark.parametrize(
    ("rights", "refused"),
    [
        ("~nomad:* +@all -hset", {"HSET"}),
        ("~nomad:* +@all -blpop -zrevrangebylex", {"BLPOP", "ZREVRANGEBYLEX"}),
        ("~nomad:* +@all -eval -evalsha", {"EVAL"}),
        ("~app:* +@all", {"GET", "RPUSH"}),
        ("~nomad:* +@all -@admin +info +config|get", set()),
    ],
)
def test_missing_permissions_are_reported(
    as_user: JobBroker, redis_client: redis.Redis, rights: str, refused: set[str]
) -> None:
    redis_client.execute_command("ACL", "SETUSER", "limited", "resetkeys", "nocommands", *rights.split())
    found = as_user.refused_commands()
    assert {each.refusal for each in found} <= {Refusal.PERMISSION}
    names = {each.name for each in found}
    assert (refused <= names) if "app" in rights else (refused == names)


def test_what_a_limited_user_may_not_do_is_no_outage(as_user: JobBroker, redis_client: redis.Redis) -> None:
    redis_client.execute_command("ACL", "SETUSER", "limited", "~nomad:*", "+@all", "-hset")
    as_user.declare_queue("default")
    with pytest.raises(RedisUnavailable, match="its user has no permission for that") as raised:
        as_user.view("default").pause(reason="", by="")
    assert raised.value.refusal is Refusal.PERMISSION


def test_a_renamed_command_is_named(tmp_path: Path) -> None:
    server = LocalRedis(tmp_path).start("--rename-command", "HSETNX", "", "--rename-command", "BLPOP", "elsewhere")
    broker = JobBroker(url=server.url)
    try:
        found = {each.name: each.refusal for each in broker.refused_commands()}
    finally:
        broker.close()
        server.kill()
    assert found == {"HSETNX": Refusal.COMMAND, "BLPOP": Refusal.COMMAND}
