"""Our .gitignore rules are git's."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aktis._runtime_env import ignore, packaging


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.log", "a.log", True),
        ("*.log", "deep/down/a.log", True),
        ("/*.log", "deep/a.log", False),
        ("deep/*.log", "deep/a.log", True),
        ("deep/*.log", "deep/er/a.log", False),
        ("build", "src/build", True),
        ("**/build", "a/b/build", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**", "a/x/y", True),
        ("a/**", "a", False),
        ("file?", "file1", True),
        ("file?", "file/", False),
        ("[a-c].py", "b.py", True),
        ("[!a-c].py", "b.py", False),
        ("[[:digit:]].py", "7.py", True),
        (r"\#x", "#x", True),
        (r"\!x", "!x", True),
        ("trailing   ", "trailing", True),
        ("trailing\\ ", "trailing ", True),
        ("# comment", "# comment", False),
    ],
)
def test_one_pattern(pattern, path, matches):
    rules = ignore.IgnoreRules().below("", ignore.parse(pattern))
    assert rules.ignores(path, False) is matches


def test_the_last_rule_that_matches_decides():
    rules = ignore.IgnoreRules().below("", ignore.parse("*.log\n!keep.log\n"))
    assert rules.ignores("a.log", False)
    assert not rules.ignores("keep.log", False)


def test_a_deeper_file_wins():
    outer = ignore.IgnoreRules().below("", ignore.parse("*.log"))
    inner = outer.below("logs", ignore.parse("!*.log\n/x"))
    assert inner.ignores("a.log", False)
    assert not inner.ignores("logs/a.log", False)
    assert inner.ignores("logs/x", False)
    assert not inner.ignores("logs/deep/x", False)


def test_a_slash_at_the_end_means_directories():
    rules = ignore.IgnoreRules().below("", ignore.parse("build/"))
    assert rules.ignores("build", True)
    assert not rules.ignores("build", False)


_PATTERNS = st.lists(
    st.one_of(
        st.text(alphabet="ab/*?!.[]\\- ", min_size=1, max_size=7),
        st.sampled_from(["a/**/b", "**/a", "a/", "!a", "b/*", "!b/a", "[!a]", "/a", "*.a", "a b", "[ab]", "b/**"]),
    ),
    max_size=4,
)
_FILES = ["a", "b", "a b", "c/a", "c/b", "c/a.a", "d/a/b", "d/b/a", "d/a/c/b", "x.a", "e/[", "e/-", "f/!a", "f/ab"]


@pytest.mark.skipif(shutil.which("git") is None, reason="compares with git")
@pytest.mark.timeout(120)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(top=_PATTERNS, nested=_PATTERNS)
def test_the_same_files_as_git(tmp_path_factory, top, nested):
    root = tmp_path_factory.mktemp("repository")
    for name in _FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.write_text("")
    (root / ".gitignore").write_text("\n".join(top) + "\n")
    (root / "d" / ".gitignore").write_text("\n".join(nested) + "\n")
    subprocess.run(["git", "init", "-q", str(root)], check=True, capture_output=True)
    listing = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--others", "--exclude-per-directory=.gitignore"],
        check=True,
        capture_output=True,
        text=True,
    )
    ours = {entry.name for entry in packaging.scan(root) if entry.kind != "directory"}
    assert ours == set(filter(None, listing.stdout.split("\0")))
    shutil.rmtree(root)
