"""Requests are answered once, and remembered no longer than they could be played again."""

from messaging.rpc.single_use import SingleUse


def test_an_id_is_used_once_by_each_issuer() -> None:
    used = SingleUse()

    assert used.use("gateway", "one", until=100, now=0)
    assert not used.use("gateway", "one", until=100, now=50)
    assert used.use("gateway", "two", until=100, now=50)
    assert used.use("other", "one", until=100, now=50)


def test_an_id_is_remembered_until_its_request_has_expired() -> None:
    used = SingleUse()
    used.use("gateway", "one", until=100, now=0)

    assert not used.use("gateway", "one", until=100, now=100)
    assert used.use("gateway", "two", until=200, now=101)
    assert len(used) == 1
