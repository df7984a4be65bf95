"""Database URLs: what is taken, what is refused, and that no password is shown."""

import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.store.url import checked_url, redact


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@localhost:5432/x",
        "postgres://localhost/x",
        "postgresql:///x?host=/run/postgresql",
        "postgresql://u:p%23%40@[::1]:5432/x?sslmode=require",
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
        ("u:secret@h/x", "***"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert redact(url) == shown
