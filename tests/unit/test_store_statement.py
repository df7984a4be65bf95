"""Files that say something once, in places where that is not plain."""

import os
from pathlib import Path

import pytest

from crypto_quant.errors import ConfigError
from crypto_quant.store.statement import write_text


def test_what_is_no_file_is_never_written_over(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for overwrite in (True, False):
        with pytest.raises(ConfigError) as caught:
            write_text(pipe, "text", what="certificate", overwrite=overwrite)
        assert str(pipe) in str(caught.value)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "real.toml", tmp_path / "link.toml"
    real.write_text("before")
    link.symlink_to(real)
    write_text(link, "after", what="configuration file", overwrite=True)
    assert (link.is_symlink(), real.read_text()) == (True, "after")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match="cannot write the configuration file"):
        write_text(tmp_path / "loop", "text", what="configuration file", overwrite=True)
