"""What stands behind the ? of a database URL: each parameter of libpq is taken, left out, or refused with a reason."""

import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.store.parameters import DRIVER, LEFT_OUT, PROMISES, REFUSED, fit, schemas_of, search_path_of
from crypto_quant.store.url import checked_url

# https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PARAMKEYWORDS
LIBPQ = """
host hostaddr port dbname user password passfile require_auth channel_binding connect_timeout client_encoding
options application_name fallback_application_name keepalives keepalives_idle keepalives_interval
keepalives_count tcp_user_timeout replication gssencmode sslmode sslnegotiation sslcompression sslcert sslkey
sslkeylogfile sslpassword sslcertmode sslrootcert sslcrl sslcrldir sslsni requirepeer ssl_min_protocol_version
ssl_max_protocol_version min_protocol_version max_protocol_version krbsrvname gsslib gssdelegation
scram_client_key scram_server_key service target_session_attrs load_balance_hosts oauth_issuer oauth_client_id
oauth_client_secret oauth_scope
""".split()  # noqa: SIM905 - a list of fifty is not easier to read
# settings of the server, which the driver hands over
SETTINGS = {"options", "application_name"}
BASE = "postgresql://u:hunter2@h/x"


def test_every_parameter_of_libpq_has_a_treatment() -> None:
    ours = {"connect_timeout", "channel_binding", "require_auth"}
    assert set(LIBPQ) <= DRIVER | LEFT_OUT | set(REFUSED) | set(PROMISES) | SETTINGS | ours


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_what_says_nothing_to_the_server_is_left_out(name: str) -> None:
    assert fit(f"{BASE}?{name}=1&search_path=market", "").url == f"{BASE}?search_path=market"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_is_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        checked_url(f"{BASE}?{name}=1")
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("sslmode=no-verify", "sslmode=require"),
        ("ssl=true", "sslmode=require"),
        ("ssl=false", "sslmode=disable"),
        ("ssl=verify-full", "sslmode=verify-full"),
        ("pgbouncer=true&connection_limit=1", ""),
        ("gssencmode=disable&channel_binding=prefer", ""),
        ("sslmode=verify-full&channel_binding=require", "sslmode=verify-full"),
        ("options=-c%20statement_timeout%3D5000", "options=-c%20statement_timeout%3D5000"),
    ],
)
def test_urls_of_services_are_understood(given: str, meant: str) -> None:
    fitted = fit(f"{BASE}?{given}", "").url
    assert fitted == f"{BASE}{'?' if meant else ''}{meant}"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("channel_binding=require", "sslmode=verify-full&sslrootcert=system"),
        ("channel_binding=require&sslmode=require", "certificate prove the server"),
        ("require_auth=scram-sha-256", "certificate prove the server"),
        ("gssencmode=require", "sslmode=verify-full"),
        ("sslrootcert=system&sslmode=require", "verify-full alone"),
        ("connect_timeout=soon", "whole seconds"),
    ],
)
def test_a_promise_is_kept_or_refused(given: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        checked_url(f"{BASE}?{given}")
    assert "hunter2" not in str(caught.value)


def test_the_systems_certificates_and_the_time_limit() -> None:
    fitted = fit(f"{BASE}?sslmode=verify-full&sslrootcert=system&connect_timeout=7", "")
    assert fitted == (f"{BASE}?sslmode=verify-full", True, 7.0)
    assert fit(f"{BASE}?connect_timeout=0", "").timeout_s is None
    assert fit(f"{BASE}?connect_timeout=1", "").timeout_s == 2.0  # as libpq


@pytest.mark.parametrize(
    ("query", "path", "schemas"),
    [
        ("search_path=market", "market", ["market"]),
        ("search_path=Market,%22Two%20Words%22,public", 'Market,"Two Words",public', ["market", "Two Words", "public"]),
        ("options=-csearch_path%3Dmarket", "market", ["market"]),
        ("options=-c%20search_path%3Dmarket%20-c%20role%3Dx", "market", ["market"]),
        ("options=--search-path%3Dmarket", "market", ["market"]),
        ("options=-crole%3Dx", "", []),
        ("", "", []),
    ],
)
def test_the_search_path_that_is_asked_for(query: str, path: str, schemas: list[str]) -> None:
    assert search_path_of(f"{BASE}?{query}") == path
    assert schemas_of(path) == schemas
