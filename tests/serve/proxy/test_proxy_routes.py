"""Which application a path reaches."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.serve._protocol import RouteView
from aktis.serve._proxy.routes import RouteTable, parse_target


def table(*prefixes: str, root_path: str = "") -> RouteTable:
    return RouteTable([RouteView(prefix, prefix, "d") for prefix in prefixes], root_path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a", "/a"),
        ("/a/", "/a"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b"),
        ("/a/bc", "/a"),
        ("/ab", "/"),
        ("/", "/"),
        ("/a//b", "/a"),
        ("//a", "/"),
        ("/a/b/c/d/e", "/a/b"),
    ],
)
def test_longest_prefix_at_the_border_of_a_segment(path: str, expected: str) -> None:
    view = table("/", "/a", "/a/b").match(path)
    assert view is not None and view.prefix == expected


def test_without_a_root_application_other_paths_belong_to_nobody() -> None:
    routes = table("/a")
    assert routes.match("/b") is None
    assert routes.match("*") is None
    assert table("/").match("*") is None
    assert RouteTable().match("/") is None


@pytest.mark.parametrize(
    ("path", "stripped"), [("/api/v1/a", "/a"), ("/api/v1", "/"), ("/a", "/a"), ("/api/v10/a", "/api/v10/a")]
)
def test_the_root_path_is_taken_off(path: str, stripped: str) -> None:
    assert table("/a", root_path="/api/v1/").strip(path) == stripped


@pytest.mark.parametrize(
    "target",
    [b"/public/..%2fadmin", b"/public%2fadmin", b"/public/../admin", b"/public/%2e%2e/admin", b"/public%2F..%2Fadmin"],
)
def test_no_spelling_reaches_another_application(target: bytes) -> None:
    view = table("/", "/public", "/admin", "/public/admin").match(parse_target(target).matched)
    assert view is not None and view.prefix in ("/", "/public")


def test_targets() -> None:
    assert parse_target(b"/a%20b?x=%20") == ("/a b", "/a b", b"/a%20b", b"x=%20")
    assert parse_target(b"/a%2Fb").path == "/a/b"
    assert parse_target(b"/%C3%BC").path == "/ü"
    for wrong in (b"", b"a", b"http://x/", b"/a#b", "/ü".encode()):
        with pytest.raises(ValueError, match="target|path"):
            parse_target(wrong)


segments = st.lists(st.text("ab.%~ü ", min_size=1, max_size=3), max_size=4)


@given(st.lists(segments, max_size=5), segments)
def test_matching_is_what_comparing_segments_says(prefixes: list[list[str]], path: list[str]) -> None:
    routes = table(*{"/" + "/".join(prefix) for prefix in prefixes})
    target = parse_target(("/" + "/".join(quote(segment, safe="") for segment in path)).encode())
    fitting = [prefix for prefix in prefixes if path[: len(prefix)] == prefix]
    view = routes.match(target.matched)
    if not fitting:
        assert view is None
    else:
        assert view is not None and view.prefix == "/" + "/".join(max(fitting, key=len))


@given(st.binary(max_size=40))
def test_any_target_is_taken_or_refused(target: bytes) -> None:
    try:
        found = parse_target(b"/" + target)
    except ValueError:
        return
    table("/a").match(found.matched)
