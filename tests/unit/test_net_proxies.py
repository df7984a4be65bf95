"""Which proxy an environment means for a URL, in the forms that people write."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_quant.errors import ConfigError
from crypto_quant.net.proxies import Proxies, is_loopback

REST = "https://api.binance.com/api/v3/time"
LINK = "wss://stream.binance.com:9443/stream"
PLAIN = "http://rates.test:8080/x"


def proxy(url: str, **environment: str) -> str | None:
    found = Proxies(environment).of(url)
    return found and f"{found.variable}={found.url}"


@pytest.mark.parametrize("url", [REST, LINK])
@pytest.mark.parametrize(("environment", "wanted"), [
    ({}, None),
    ({"HTTPS_PROXY": "http://p:3128"}, "HTTPS_PROXY=http://p:3128"),
    ({"HTTPS_PROXY": "p:3128"}, "HTTPS_PROXY=http://p:3128"),
    ({"HTTPS_PROXY": "127.0.0.1:7890"}, "HTTPS_PROXY=http://127.0.0.1:7890"),
    ({"HTTPS_PROXY": "me:pw@p:3128"}, "HTTPS_PROXY=http://me:pw@p:3128"),
    ({"HTTPS_PROXY": "http://p:3128/"}, "HTTPS_PROXY=http://p:3128"),
    ({"HTTPS_PROXY": "https://p:3128"}, "HTTPS_PROXY=https://p:3128"),
    ({"HTTPS_PROXY": "http://[::1]:3128"}, "HTTPS_PROXY=http://[::1]:3128"),
    ({"https_proxy": "http://low", "HTTPS_PROXY": "http://high"}, "https_proxy=http://low"),
    ({"https_proxy": "", "HTTPS_PROXY": "http://high"}, None),
    ({"HTTPS_PROXY": " "}, None),
    ({"HTTP_PROXY": "http://p"}, None),
    ({"ALL_PROXY": "http://all", "HTTPS_PROXY": "http://one"}, "HTTPS_PROXY=http://one"),
    ({"ALL_PROXY": "http://all"}, "ALL_PROXY=http://all"),
    ({"ALL_PROXY": "socks5://all", "HTTPS_PROXY": "http://one"}, "HTTPS_PROXY=http://one"),
])  # fmt: skip
def test_rest_and_links_take_the_same_proxy(url: str, environment: dict[str, str], wanted: str | None) -> None:
    assert proxy(url, **environment) == wanted


def test_a_plain_url_has_a_variable_of_its_own() -> None:
    assert proxy(PLAIN, HTTP_PROXY="p", HTTPS_PROXY="q") == "HTTP_PROXY=http://p"
    assert proxy("ws://rates.test/ws", http_proxy="p", HTTPS_PROXY="q") == "http_proxy=http://p"


@pytest.mark.parametrize(("text", "says"), [
    ("socks5h://me:secret@p:1080", "SOCKS is not supported"),
    ("socks5://p:1080", "SOCKS is not supported"),
    ("socks4a://p", "SOCKS is not supported"),
    ("socks://p", "SOCKS is not supported"),
    ("ftp://p", "http://HOST:PORT"),
    ("http://", "http://HOST:PORT"),
    ("http://p:port", "http://HOST:PORT"),
    ("p:99999", "http://HOST:PORT"),
    (":3128", "http://HOST:PORT"),
    ("http://p:3128/proxy.pac", "http://HOST:PORT"),
    ("http://[::1", "http://HOST:PORT"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused_in_a_sentence(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        proxy(REST, HTTPS_PROXY=text)
    assert str(caught.value).startswith("HTTPS_PROXY names no proxy that can be used")
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", [
    "localhost", "LOCALHOST.", "db.localhost", "127.0.0.1", "127.8.8.8", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0",  # noqa: S104
])  # fmt: skip
@pytest.mark.parametrize("text", ["http://p:3128", "socks5h://p:1080", "nonsense://"])
def test_loopback_is_never_asked_through_a_proxy(host: str, text: str) -> None:
    assert proxy(f"http://{host}:8080/x", HTTP_PROXY=text, ALL_PROXY=text) is None
    assert proxy(f"wss://{host}/x", HTTPS_PROXY=text) is None


@pytest.mark.parametrize("host", ["localhost.com", "notlocalhost", "128.0.0.1", "::2", "10.0.0.1"])
def test_what_only_looks_like_loopback_is_none(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(("names", "url", "direct"), [
    ("*", REST, True),
    ("binance.com", REST, True),
    (".binance.com", REST, True),
    ("*.binance.com", REST, True),
    ("BINANCE.COM", REST, True),
    ("api.binance.com", REST, True),
    ("nance.com", REST, False),
    ("ws.api.binance.com", REST, False),
    ("", REST, False),
    (" , ", REST, False),
    (".", REST, False),
    ("other.test, binance.com", REST, True),
    ("other.test binance.com", REST, True),
    ("binance.com:443", REST, True),
    ("binance.com:9443", REST, False),
    ("binance.com:9443", LINK, True),
    ("10.0.0.0/8", "https://10.1.2.3/x", True),
    ("10.0.0.0/8", "https://11.1.2.3/x", False),
    ("10.1.2.3", "https://10.1.2.3/x", True),
    ("10.1.2.3:443", "https://10.1.2.3/x", True),
    ("10.1.2.3:444", "https://10.1.2.3/x", False),
    ("2001:db8::/32", "https://[2001:db8::7]/x", True),
    ("[2001:db8::7]:443", "https://[2001:db8::7]/x", True),
    ("[2001:db8::7]:444", "https://[2001:db8::7]/x", False),
    ("2001:db8::7", "https://[2001:db8::7]/x", True),
])  # fmt: skip
def test_no_proxy(names: str, url: str, direct: bool) -> None:
    assert (proxy(url, HTTPS_PROXY="p", NO_PROXY=names) is None) is direct
    assert (proxy(url, HTTPS_PROXY="p", no_proxy=names, NO_PROXY="*") is None) is direct


def test_a_proxy_is_named_without_its_password() -> None:
    found = Proxies({"HTTPS_PROXY": "me:p@ss:word@p:3128"}).of(REST)
    assert str(found) == "http://me:***@p:3128 (HTTPS_PROXY)"


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_understood_or_refused(url: str, text: str, names: str) -> None:
    for asked in (url, f"https://{url}", f"ws://{url}", REST):
        with suppress(ConfigError):
            found = Proxies({"ALL_PROXY": text, "NO_PROXY": names}).of(asked)
            assert found is None or found.url.startswith(("http://", "https://"))
