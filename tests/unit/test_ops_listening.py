"""Addresses to listen on: what is one, and what is said when it cannot be had."""

import os
import socket

import pytest

from crypto_quant.errors import ConfigError, PortUnavailable
from crypto_quant.ops import listening
from crypto_quant.ops.listening import address_of, listen, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8765", ("127.0.0.1", 8765)),
        ("0", ("127.0.0.1", 0)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),  # noqa: S104
        ("[::1]:8765", ("::1", 8765)),
        ("example.org:65535", ("example.org", 65535)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "btcusdt", ":8765", "::1:8765", "1:2:3", "localhost:", "h:65536", "h:-1", "h:8٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not an address to listen on"):
        parse_address(text)


def test_a_taken_port_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_PATIENCE_S", 0.0)
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortUnavailable) as told:
            listen("127.0.0.1", port)
    assert str(told.value).startswith(f"the port is taken: 127.0.0.1:{port}. Another program listens there")
    with listen("127.0.0.1", port) as again:  # at once: what was there before does not block it
        assert again.getsockname()[1] == port


def test_a_port_that_becomes_free_in_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    first = listen("127.0.0.1", 0)
    port = first.getsockname()[1]
    monkeypatch.setattr(listening.time, "sleep", lambda _: first.close())
    with listen("127.0.0.1", port) as second:
        assert second.getsockname()[1] == port


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(PortUnavailable, match=r"not an address of this machine: 192\.0\.2\.1:0"):
        listen("192.0.2.1", 0)


def test_sockets_are_not_inherited_and_have_a_printable_address() -> None:
    with listen("127.0.0.1", 0) as bound:
        assert not os.get_inheritable(bound.fileno())
        assert address_of(bound) == f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_is_in_brackets() -> None:
    with listen("::1", 0) as bound:
        assert address_of(bound) == f"[::1]:{bound.getsockname()[1]}"
