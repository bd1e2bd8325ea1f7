"""Names for files that hypothesis makes up, in a folder with links that lead everywhere."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder.errors import CoderError
from coder.worktrees.paths import open_root
from tests.fuzz.drawing import often, texts

SECRET = b"a secret beside the worktree"
parts = st.sampled_from(
    ["..", ".", "", "a", "b", "up", "out", "round", "file", "secret", ".git", ".GIT", "/", "%2e%2e", "..\\", "x" * 300]
)
names = st.lists(parts | texts, max_size=6).map("/".join)


@pytest.mark.scenario("fuzz: Any name of a file")
@often(200)
@given(name=names, is_absolute=st.booleans(), use_openat2=st.booleans())
def test_no_name_leads_out(
    tmp_path_factory: pytest.TempPathFactory, name: str, is_absolute: bool, use_openat2: bool
) -> None:
    place = tmp_path_factory.mktemp("paths")
    root, secret = place / "root", place / "secret"
    _furnish(root, secret)
    path = f"{root}/{name}" if is_absolute else name
    with open_root(root, use_openat2=use_openat2) as opened:
        with suppress(CoderError):
            assert opened.read_bytes(path) != SECRET
        with suppress(CoderError):
            found = opened.state(path)
            assert found is None or found.content != SECRET
        with suppress(CoderError):
            opened.write_bytes(path, b"written")
        with suppress(CoderError):
            opened.remove(path)
    assert secret.read_bytes() == SECRET
    assert sorted(found.name for found in place.iterdir()) == ["root", "secret"]


def _furnish(root: Path, secret: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "file").write_bytes(b"inside")
    (root / "up").symlink_to("..")
    (root / "out").symlink_to(secret)
    (root / "a/round").symlink_to("../a")
    (root / "a/b/secret").symlink_to("../../../secret")
    secret.write_bytes(SECRET)
