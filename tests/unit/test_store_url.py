"""Database URLs: what is taken, what is refused, and that no password is shown."""

import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.store.url import Host, checked_url, hosts_of, redact


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@localhost:5432/x",
        "postgres://localhost/x",
        "postgresql:///x?host=/run/postgresql",
        "postgresql://u:p%23%40@[::1]:5432/x?sslmode=require",
        "postgresql://u:p@db1:5432,db2:5433,[::1]:5434/x?target_session_attrs=read-write",
        "postgresql:///x?host=db1,db2&port=5432,5433",
    ],
)
def test_a_good_url_is_left_as_it_is(url: str) -> None:
    assert checked_url(f" {url}\n") == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("localhost", "not a PostgreSQL database URL"),
        ("mysql://u:hunter2@h/x", "not a PostgreSQL database URL"),
        ("postgresql+asyncpg://u:hunter2@h/x", "Leave out the driver's name"),
        ("postgresql://u:hunter2@h:port/x", "cannot be read"),
        ("postgresql://u:hunter2@h:99999/x", "cannot be read"),
        ("postgresql://u:hunter2@h:0/x", "port 0"),
        ("postgresql://u:hunter2@[::1/x", "cannot be read"),
        ("postgresql://u:hun#hunter2@h/x", "%23"),
        ("postgresql://u:hun/hunter2@h/x", "cannot be read"),
        ("postgresql://u:5,hun/hunter2@h/x", "%2F"),
        ("postgresql://u:5/hunter2@h/x", "%2F"),
        ("postgresql://u:hunter2@h1:5432,h2:port/x", "cannot be read"),
        ("postgresql://u:hunter2@h1:5432,h2:0/x", "port 0"),
        ("postgresql://u:hunter2@h1,,h2/x", "a host without a name"),
        ("postgresql:///x?host=h1,h2,h3&port=5432,5433&password=hunter2", "3 hosts and 2 ports"),
    ],
)
def test_a_bad_url_is_a_configuration_error_without_its_password(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        checked_url(url)
    assert caught.value.exit_code == 2
    assert "hun" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:5432/x", "postgresql://u:***@h:5432/x"),
        ("postgresql://u:se@cret@h/x", "postgresql://u:***@h/x"),
        ("postgresql://u@h/x", "postgresql://u@h/x"),
        ("postgresql://h/x", "postgresql://h/x"),
        ("postgresql:///x?host=/run/pg&password=secret", "postgresql:///x?host=/run/pg&password=***"),
        ("postgresql://u:secret@h:word/x", "postgresql://***"),
        ("postgresql://u:se#cret@h/x", "postgresql://***"),
        ("postgresql://u:secret@h1:1,h2:2/x?sslmode=require", "postgresql://u:***@h1:1,h2:2/x?sslmode=require"),
        ("postgresql://u:5/secret@h/x", "postgresql://***"),
        ("u:secret@h/x", "***"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u:p@db/x", [("db", None)]),
        ("postgresql://u:a,b@db1:1,db2,[::1]:3/x", [("db1", 1), ("db2", None), ("::1", 3)]),
        ("postgresql://u@/x?host=/run/pg,db2&port=5433", [("/run/pg", 5433), ("db2", 5433)]),
        ("postgresql:///x?host=db1,db2&port=1,2", [("db1", 1), ("db2", 2)]),
        ("postgresql://%2Frun%2FPG,Db2:1/x", [("/run/PG", None), ("Db2", 1)]),
        ("postgresql:///x", []),
    ],
)
def test_the_servers_of_a_url(url: str, hosts: list[Host]) -> None:
    assert hosts_of(url) == hosts
