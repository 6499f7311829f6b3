"""The two limiters: tokens in a sliding window, and the old limit of errors per minute."""

from __future__ import annotations

import requests

from sandbox.serve import SandboxServer

from .conftest import Visitor


def rate_limits(response: requests.Response) -> tuple[str, str, str]:
    """Return limit, remaining and used tokens from the headers of a response."""
    headers = response.headers
    return headers["X-Ratelimit-Limit"], headers["X-Ratelimit-Remaining"], headers["X-Ratelimit-Used"]


def test_responses_cost_the_documented_tokens(trader: Visitor, sandbox: SandboxServer) -> None:
    first = trader.get("/wallet")
    assert first.headers["X-Ratelimit-Group"] == "char-wallet"
    assert rate_limits(first) == ("150/15m", "148", "2")
    assert rate_limits(trader.get("/wallet", headers={"If-None-Match": first.headers["ETag"]})) == (
        "150/15m",
        "147",
        "1",
    )
    assert rate_limits(trader.get("/wallet/journal", page="none")) == ("150/15m", "142", "5")
    sandbox.fail("*/wallet", 500)
    assert rate_limits(trader.get("/wallet")) == ("150/15m", "142", "0")


def test_the_two_limiters_have_disjoint_headers(trader: Visitor) -> None:
    new, old = trader.get("/wallet").headers, trader.get("/orders").headers
    assert "X-ESI-Error-Limit-Remain" not in new
    assert "X-Ratelimit-Group" not in old
    assert old["X-ESI-Error-Limit-Remain"] == "100"
    assert 1 <= int(old["X-ESI-Error-Limit-Reset"]) <= 60


def test_an_empty_bucket_returns_429_for_its_group_and_character_until_tokens_return(
    trader: Visitor, sandbox: SandboxServer
) -> None:
    other = Visitor(sandbox, 1)
    for _ in range(3):
        trader.get("/notifications", headers={"X-Compatibility-Date": "never"})
        sandbox.advance(10)
    refused = trader.get("/notifications")
    assert refused.status_code == 429
    assert refused.headers["X-Ratelimit-Used"] == "0"
    wait_s = int(refused.headers["Retry-After"])
    assert wait_s == 900 - 30
    assert trader.get("/skills").status_code == 200
    assert other.get("/notifications").status_code == 200
    sandbox.advance(wait_s - 1)
    trader.renew()
    assert trader.get("/notifications").status_code == 429
    sandbox.advance(1)
    assert trader.get("/notifications").status_code == 200


def test_retry_after_waits_for_all_the_tokens_that_are_missing(trader: Visitor, sandbox: SandboxServer) -> None:
    for path in ("/notifications", "/notifications", *["/notifications?compatibility_date=never"] * 3):
        trader.get(path)
        sandbox.advance(100)
    wait_s = int(trader.get("/notifications").headers["Retry-After"])
    assert wait_s == 900 - 300, "19 spent of 15: the first two answers' 4 tokens are not enough, a third must return"


def test_after_a_hundred_errors_in_a_minute_every_route_returns_420_until_it_ends(
    trader: Visitor, sandbox: SandboxServer
) -> None:
    for _ in range(100):
        trader.request("/characters/5")
    for path in ("/orders", "/skills"):
        refused = trader.get(path)
        assert refused.status_code == 420
        assert refused.headers["X-ESI-Error-Limit-Remain"] == "0"
        assert "X-Ratelimit-Used" not in refused.headers, "who is shut out pays no tokens"
    sandbox.advance(int(refused.headers["X-ESI-Error-Limit-Reset"]))
    assert trader.get("/skills").status_code == 200


def test_errors_of_routes_with_tokens_do_not_count_as_errors(trader: Visitor) -> None:
    trader.get("/wallet/journal", page="none")
    assert trader.get("/orders").headers["X-ESI-Error-Limit-Remain"] == "100"


def test_injected_errors_count_like_real_ones(trader: Visitor, sandbox: SandboxServer) -> None:
    sandbox.fail("*/orders", 502)
    assert trader.get("/orders").headers["X-ESI-Error-Limit-Remain"] == "99"


def test_limits_can_be_counted_without_being_enforced() -> None:
    with SandboxServer(characters=1, enforce_limits=False) as lenient:
        visitor = Visitor(lenient, 0)
        for _ in range(4):
            response = visitor.get("/notifications", headers={"X-Compatibility-Date": "never"})
        assert (response.status_code, response.headers["X-Ratelimit-Remaining"]) == (400, "0")
        assert visitor.get("/notifications").status_code == 200
