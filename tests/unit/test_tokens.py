"""The access token's file."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coder.errors import HostConfigError
from coder.tokens import load_token, read_token, token_path


@pytest.mark.scenario("access: The token is made once and kept to its owner")
def test_the_first_start_makes_a_token_that_only_its_owner_reads(tmp_path: Path):
    home = tmp_path / "state" / "coder"
    token = load_token(home)
    assert len(token) >= 43
    assert stat.S_IMODE(token_path(home).stat().st_mode) == 0o600
    assert load_token(home) == read_token(home) == token
    assert [path.name for path in home.iterdir()] == ["token"]


def test_two_homes_have_two_tokens(tmp_path: Path):
    assert load_token(tmp_path / "a") != load_token(tmp_path / "b")


def test_many_starts_at_once_get_one_token(tmp_path: Path):
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(load_token, [tmp_path] * 32))) == 1


def test_a_token_that_others_may_read_is_refused(tmp_path: Path):
    load_token(tmp_path)
    token_path(tmp_path).chmod(0o640)
    with pytest.raises(HostConfigError, match="chmod 600"):
        load_token(tmp_path)


@pytest.mark.parametrize("content", ["", "short", "x" * 20, "zeichen-ü-und-mehr-davon-bis-es-reicht-und-weiter"])
def test_a_file_without_a_usable_token_is_refused(content: str, tmp_path: Path):
    token_path(tmp_path).write_text(content)
    token_path(tmp_path).chmod(0o600)
    with pytest.raises(HostConfigError, match="no usable token"):
        load_token(tmp_path)


def test_a_link_in_the_token_s_place_is_refused(tmp_path: Path):
    (tmp_path / "elsewhere").write_text("x" * 43)
    token_path(tmp_path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostConfigError):
        load_token(tmp_path)


def test_a_missing_token_is_not_made_by_reading(tmp_path: Path):
    with pytest.raises(HostConfigError, match="coder up"):
        read_token(tmp_path)
    assert not token_path(tmp_path).exists()
