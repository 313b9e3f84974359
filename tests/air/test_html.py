"""Report pages and charts: whole, self-contained, safe, small."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.air._html.charts import _path, thin_out
from aktis.air._html.scales import categories_scale, number_scale, suits_log
from aktis.air.html import (
    COLOURS,
    Axis,
    Fact,
    Mark,
    Page,
    Part,
    Reportable,
    Series,
    bar_chart,
    colour_legend,
    figure,
    fragment_table,
    legend,
    line_chart,
    parallel_coordinates,
    scatter,
    stacked_bars,
    table,
)

EVIL = "</script><script>alert('x')</script>&\""


class Checker(HTMLParser):
    """That elements are closed in order, and what they refer to."""

    VOID = frozenset({"meta", "input", "line", "rect", "circle", "path", "polyline", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.counts: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a beginning"
        assert self.open.pop() == tag


def checked(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker


def full_page() -> Page:
    page = Page(f"title {EVIL}", EVIL, footer=EVIL, names={"0": EVIL})
    page.facts([Fact(EVIL, EVIL, EVIL, "best", wide=True)])
    section = page.section(EVIL)
    section.text(EVIL).add(
        line_chart([Series(EVIL, [1, 2], [3.0, math.nan], key="0", shade=0.5)], x_label=EVIL, y_label=EVIL)
    )
    section.side_by_side(
        [figure(bar_chart({EVIL: 1.0}), EVIL), scatter([EVIL, "b"], [1.0, 2.0], names=[EVIL, EVIL], x_label=EVIL)]
    )
    section.add(
        parallel_coordinates([Axis(EVIL, [EVIL, None]), Axis("b", [1, 2])], keys=["0", "1"]), legend(EVIL, EVIL, EVIL)
    )
    section.add(table([EVIL], [[EVIL]] * 10, keys=["0"] * 10), fragment_table([EVIL], [[EVIL]]))
    return page


def test_a_page_stands_on_its_own(tmp_path: Path) -> None:
    path = full_page().write(tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    checker = checked(text)
    assert checker.links == []
    assert not re.search(r"url\(|@import|https?://", text), "nothing is loaded from anywhere"
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


class Runs:
    """Something to say, with keys that others use, too."""

    def __init__(self, name: str) -> None:
        self.name = name

    def add_to_page(self, part: Part) -> None:
        part.title = part.title or "no title was given"
        part.names["0"] = self.name
        part.facts([Fact("name", self.name)])
        part.section("Curve").add(line_chart([Series(self.name, [1, 2], [3.0, 4.0], key="0")]))


def test_a_page_is_made_of_parts_with_names_of_their_own() -> None:
    page = Page("Both", names={"0": "of the page"})
    page.facts([Fact("parts", "2")])
    page.add("First", Runs(f"one {EVIL}"))
    page.add("Second", Runs("two"))
    page.section("At the end").text("that is all")
    html = page.render()
    assert checked(html).links == ["#part-1", "#part-2"]
    assert [title for _, title in re.findall(r"<(h[123])>(.*?)</\1>", html)] == [
        "Both", "First", "Curve", "Second", "Curve", "At the end",
    ]  # fmt: skip
    blocks = html.split('<div class="block">')[1:]
    said = [re.search(r'class="names">(.*?)</script>', block) for block in blocks]
    assert [json.loads(match[1])["0"] for match in said if match] == [
        "of the page",
        f"one {EVIL}",
        "two",
        "of the page",
    ]


def test_what_has_nothing_to_say_is_no_part() -> None:
    with pytest.raises(TypeError, match=r"42 cannot be a part of a page.*add_to_page"):
        Page("title").add("number", 42)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cannot be a part"):
        Page("title").add("class", Runs)  # type: ignore[arg-type]


def test_texts_do_not_become_code() -> None:
    text = full_page().render()
    assert "alert('x')</script>" not in text
    assert text.count("<script") == 2, "the page's own"


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="page"):
        Page("x").write(tmp_path / "no" / "page.html")


# -- charts ------------------------------------------------------------------------------------------------------------------


def path_points(d: str) -> list[list[tuple[float, float]]]:
    """The pieces of a path, in units."""
    pieces = []
    for piece in d.split("M")[1:]:
        start, _, rest = piece.partition("l")
        x, y = map(int, start.split())
        points = [(x / 2, y / 2)]
        steps = list(map(int, rest.split()))
        for dx, dy in zip(steps[::2], steps[1::2], strict=True):
            x, y = x + dx, y + dy
            points.append((x / 2, y / 2))
        pieces.append(points)
    return pieces


coordinates = st.tuples(st.floats(0, 1000), st.floats(0, 400))


@settings(max_examples=80)
@given(st.lists(st.none() | coordinates, max_size=30))
def test_a_path_goes_through_its_points(points: list[tuple[float, float] | None]) -> None:
    drawn = [point for piece in path_points(_path(points)) for point in piece]
    wanted = [(round(x * 2) / 2, round(y * 2) / 2) for x, y in filter(None, points)]
    assert set(drawn) == set(wanted)
    assert drawn[:1] == wanted[:1]
    gaps = sum(1 for a, b in zip([None, *points], points, strict=False) if a is None and b is not None)
    assert _path(points).count("M") == gaps


@settings(max_examples=80)
@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=300), st.integers(4, 60))
def test_thinning_out_keeps_peaks_and_ends(ys: list[float], most: int) -> None:
    xs = list(map(float, range(len(ys))))
    kept = thin_out(xs, ys, most)
    assert len(kept) <= max(most, 4) or len(kept) == len(ys) <= most
    assert [x for x, _ in kept] == sorted({x for x, _ in kept})
    assert kept[0][0] == 0
    assert kept[-1][0] == len(ys) - 1
    known = [y for y in ys if not math.isnan(y)]
    left = [y for _, y in kept if not math.isnan(y)]
    if known:
        assert (max(left), min(left)) == (max(known), min(known))


@settings(max_examples=100)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_scales_hold_their_values_and_have_ticks(values: list[float]) -> None:
    scale = number_scale(values, 10, 110)
    assert all(10 - 1e-6 <= scale(value) <= 110 + 1e-6 for value in values)
    assert 1 <= len(scale.ticks) <= 12
    assert all(scale.lo - 1e-6 * abs(scale.lo) <= tick for tick, _ in scale.ticks)
    assert [tick for tick, _ in scale.ticks] == sorted(tick for tick, _ in scale.ticks)


@settings(max_examples=100)
@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=20))
def test_logarithmic_scales(values: list[float]) -> None:
    scale = number_scale(values, 0, 100, log=True)
    assert all(-1e-6 <= scale(value) <= 100 + 1e-6 for value in values)
    assert 1 <= len(scale.ticks) <= 12


def test_which_values_suit_a_logarithm() -> None:
    assert suits_log([10**-k for k in range(6)])
    assert not suits_log([float(k) for k in range(1, 100)])
    assert not suits_log([0.0, 1e-5, 1.0])
    assert not suits_log([1.0, 1000.0])
    assert categories_scale(["a", "b"], 0, 100).ticks == [(0.0, "a"), (1.0, "b")]


def test_a_thousand_curves_stay_small() -> None:
    series = [
        Series(str(n), list(range(500)), [math.sin(i / 20 + n) for i in range(500)], key=str(n), shade=n / 1000)
        for n in range(1000)
    ]
    assert len(line_chart(series)) < 700_000


def test_curves_with_holes_outliers_and_single_points() -> None:
    chart = line_chart([
        Series("a", list(range(40)), [1.0 + i / 40 for i in range(40)]),
        Series("b", [1, 2, 3], [1.5, math.nan, 1e30]),
        Series("c", [5], [1.2]),
        Series("d", [1, 2], [math.nan, math.nan]),
    ])  # fmt: skip
    paths = re.findall(r'<path d="([^"]+)"', chart)
    assert len(paths) == 3, "what has no value is not drawn"
    # One value far away does not flatten the others; it stands at the border.
    heights = [y for x, y in path_points(paths[0])[0]]
    assert max(heights) - min(heights) > 200
    assert {len(piece) for piece in path_points(paths[1])} == {1}


def test_points() -> None:
    chart = scatter([1, 2, None, 4], [1.0, None, 3.0, 4.0], keys=list("abcd"), front=[0, 3], x_label="x", y_label="y")
    assert re.findall(r'data-k="(\w)"', chart) == ["a", "d"], "what is not known is not drawn"
    assert chart.count('class="top"') == 2
    assert 'class="front"' in chart
    same = scatter(["u", "u", "v"], [1.0, 1.0, 2.0])
    places = re.findall(r'cx="([\d.]+)"', same)
    assert len(set(places)) == 3, "categories: side by side"


def test_parallel_coordinates_have_a_point_on_every_axis() -> None:
    axes = [Axis("n", [1, 2, None]), Axis("kind", ["a", True, "a"]), Axis("same", [1.0, 1.0, 1.0])]
    chart = parallel_coordinates(axes, keys=list("012"), shades=[0.0, 1.0, None], tops=[1])
    paths = re.findall(r'<path d="([^"]+)"', chart)
    assert [len(path_points(path)[0]) for path in paths] == [3, 3, 3]
    assert chart.count('class="axis"') == 3
    assert chart.index('class="top"') > chart.index('data-k="0"'), "what is pointed out is drawn last"


def test_tables_are_sorted_by_values() -> None:
    text = table(["name", "value", "mixed"], [["b", 0.123456789, 1], ["a", None, "x"], ["c", 2, None]], tops=[2])
    assert '<th data-sort="s">name' in text
    assert '<th data-sort="n" class=n>value' in text
    assert '<th data-sort="s">mixed' in text
    assert 'data-v="0.123456789">0.1235<' in text
    assert '<tr class="top"><td>c' in text
    assert "filter by words" not in text, "of a short table nothing needs to be searched"


def test_marks_stand_where_things_happened_and_only_there() -> None:
    lines = [Series("a", [0, 10], [1.0, 2.0])]
    chart = line_chart(lines, marks=[Mark(5, EVIL, "bad"), Mark(11, "outside"), Mark(math.nan, "nowhere")])
    checked(chart)
    assert chart.count('class="mark') == 1
    (at,) = re.findall(r'<g class="mark bad"><title>[^<]*</title><line x1="([\d.]+)"', chart)
    left, right = 62, 900 - 12
    assert float(at) == pytest.approx((left + right) / 2, abs=0.1)


def test_many_marks_have_no_labels() -> None:
    lines = [Series("a", [0, 100], [1.0, 2.0])]
    few = line_chart(lines, marks=[Mark(x, "again") for x in (10, 11, 60)])
    many = line_chart(lines, marks=[Mark(float(x), "again") for x in range(50)])
    assert few.count(">again</text>") == 2, "one of two that are close has room"
    assert ">again</text>" not in many and many.count("<title>again</title>") == 50


def test_amounts_begin_at_zero() -> None:
    chart = line_chart([Series("a", [0, 1], [90.0, 100.0])], y_zero=True)
    assert re.search(r'data-y="\[0\.0,', chart)


def test_stacked_bars_are_as_long_as_their_parts() -> None:
    chart = stacked_bars([("a", [3.0, 1.0]), ("b", [0.0, math.nan])], ["work", "wait"], keys=["0", "1"], unit="s")
    checked(chart)
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="18"', chart)]
    assert widths[0] == pytest.approx(3 * widths[1], rel=0.01)
    assert widths[2:] == [0.0, 0.0]
    assert "a, wait: 1 s (25%)" in chart
    assert chart.count("data-k=") == 2


def test_colours_repeat() -> None:
    chart = line_chart([Series(str(n), [0, 1], [n, n], colour=n) for n in range(COLOURS + 1)])
    assert chart.count('class="c0"') == 2
    assert checked(colour_legend([EVIL, "b"])).counts["i"] == 2


def test_what_can_be_a_part_of_a_page() -> None:
    class Lines:
        def add_to_page(self, part: Part) -> None:
            part.section("Lines").text("one & two")

    assert isinstance(Lines(), Reportable) and not isinstance("lines", Reportable)
    page = Page("All")
    page.add("Mine", Lines())
    assert "one &amp; two" in page.render()
    with pytest.raises(TypeError, match="add_to_page"):
        page.add("Text", "lines")  # type: ignore[arg-type]
