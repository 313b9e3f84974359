"""Report pages: one file, nothing loaded from anywhere, light and dark, fit to print.

::

    page = Page("My experiment", "12 trials")
    page.facts([Fact("best loss", "0.12")])
    section = page.section("Learning curves")
    section.add(line_chart([Series("a", [1, 2, 3], [3.0, 2.0, 1.5])], x_label="epoch", y_label="loss"))
    page.add("The search", tuner.fit())  # whatever has a method add_to_page(part): results of Tune and Train, traffic of Serve
    page.write("report.html")

Texts are escaped where they are given as ``text``, names or cells; ``add`` takes HTML as it is.
"""

from __future__ import annotations

import datetime
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from numbers import Real
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from aktis.air._html.charts import (
    COLOURS,
    Axis,
    Mark,
    Series,
    bar_chart,
    line_chart,
    parallel_coordinates,
    scatter,
    shade_styles,
    stacked_bars,
)
from aktis.air.display import format_value
from aktis.util.files import write_whole

__all__ = [
    "COLOURS", "Axis", "Fact", "Mark", "Page", "Part", "Reportable", "Section", "Series", "bar_chart", "colour_legend",
    "figure", "fragment_table", "legend", "line_chart", "parallel_coordinates", "scatter", "stacked_bars", "table",
]  # fmt: skip


@dataclass
class Fact:
    """A number that matters, at the top of a page. ``kind`` colours it: "good", "bad" or "best"."""

    label: str
    value: str
    note: str = ""
    kind: str = ""
    wide: bool = False


class Section:
    """A part of a page with a heading."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def add(self, *fragments: str) -> Section:
        """HTML, as it is: charts, tables, figures."""
        self._parts += fragments
        return self

    def text(self, text: str, note: bool = False) -> Section:
        """A paragraph."""
        self._parts.append(f'<p class="note">{escape(text)}</p>' if note else f"<p>{escape(text)}</p>")
        return self

    def side_by_side(self, fragments: Sequence[str]) -> Section:
        """Charts beside each other where there is room."""
        self._parts.append(f'<div class="pair">{"".join(fragments)}</div>')
        return self

    def render(self, level: int = 2) -> str:
        """As HTML; ``level`` is that of the heading."""
        return f"<section><h{level}>{escape(self.title)}</h{level}>{''.join(self._parts)}</section>"


@runtime_checkable
class Reportable(Protocol):
    """What can be a part of a page."""

    def add_to_page(self, part: Part) -> None:
        """Add facts and sections; a title, subtitle or names, where there is none yet."""


class Part:
    """Facts and sections about one thing. Elements with the same key (see ``Series.key``) belong together within a part.

    Args:
        title: The heading.
        subtitle: A line below it.
        names: What the pointer says of the things with a key.
    """

    def __init__(self, title: str = "", subtitle: str = "", names: Mapping[str, str] | None = None) -> None:
        self.title = title
        self.subtitle = subtitle
        self.names = dict(names or {})
        self._parts: list[str | Section | Part] = []
        self._anchor = "part"

    def facts(self, facts: Sequence[Fact]) -> None:
        """Numbers that matter, as tiles."""
        tiles = []
        for fact in facts:
            note = f"<small>{escape(fact.note)}</small>" if fact.note else ""
            kind = f' class="{escape(fact.kind)}"' if fact.kind else ""
            wide = " wide" if fact.wide else ""
            tiles.append(
                f'<div class="fact{wide}"><dt>{escape(fact.label)}</dt><dd{kind}>{escape(fact.value)}{note}</dd></div>'
            )
        self._parts.append(f'<dl class="facts">{"".join(tiles)}</dl>')

    def section(self, title: str) -> Section:
        """A new section at the end."""
        section = Section(title)
        self._parts.append(section)
        return section

    def add(self, title: str, thing: Reportable, subtitle: str = "") -> Part:
        """A part about ``thing`` at the end, which is returned: results of Tune and Train and ``serve.traffic()`` can be one.

        Args:
            title: Its heading.
            thing: What has a method ``add_to_page``.
            subtitle: A line below the heading; by itself where the files of ``thing`` are, if it has any.

        Raises:
            TypeError: It has no method ``add_to_page``.
        """
        if not isinstance(thing, Reportable) or isinstance(thing, type):
            raise TypeError(
                f"{thing!r} cannot be a part of a page: it has no method add_to_page(part). Results of Tune and Train "
                "and serve.traffic() have one; for what you draw yourself there is section()."
            )
        part = Part(title, subtitle)
        part._anchor = f"{self._anchor}-{len(self._parts)}"
        thing.add_to_page(part)
        self._parts.append(part)
        return part

    def _content(self, level: int) -> str:
        """Each run of sections is a block of its own, with the names of its keys."""
        blocks = []
        for nested, group in itertools.groupby(self._parts, lambda part: isinstance(part, Part)):
            if nested:
                blocks += [part._as_part(level) for part in group if isinstance(part, Part)]
                continue
            inner = "".join(part if isinstance(part, str) else part.render(level) for part in group)  # type: ignore[union-attr]
            blocks.append(f'<div class="block">{inner}{self._names()}</div>')
        return "".join(blocks)

    def _names(self) -> str:
        # A "<" inside of a script could end it, or begin a comment.
        names = json.dumps(self.names, ensure_ascii=False).replace("<", "\\u003c")
        return f'<script type="application/json" class="names">{names}</script>' if self.names else ""

    def _as_part(self, level: int) -> str:
        subtitle = f'<p class="sub">{escape(self.subtitle)}</p>' if self.subtitle else ""
        head = f"<h{level}>{escape(self.title)}</h{level}>{subtitle}"
        return f'<div class="part" id="{self._anchor}">{head}{self._content(min(6, level + 1))}</div>'


class Page(Part):
    """A page that is a file of its own.

    Args:
        title: The heading.
        subtitle: A line below it.
        footer: A line at the end; by itself who wrote it, and when.
        names: What the pointer says of the things with a key (see ``Series.key``).
    """

    def __init__(
        self, title: str = "", subtitle: str = "", footer: str = "", names: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(title, subtitle, names)
        self.footer = footer

    def render(self) -> str:
        """The page as HTML."""
        parts = [part for part in self._parts if isinstance(part, Part)]
        links = "".join(f'<a href="#{part._anchor}">{escape(part.title)}</a>' for part in parts)
        contents = f"<nav>{links}</nav>" if len(parts) > 1 else ""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title>\n<style>\n{_asset('style.css')}{shade_styles()}\n</style></head>\n"
            f'<body><main><h1>{escape(self.title)}</h1><p class="sub">{escape(self.subtitle)}</p>{contents}\n'
            f"{self._content(2)}\n<footer>{escape(self.footer or _signature())}</footer></main>"
            f'<div id="tip" role="status"></div>\n<script>\n{_asset("page.js")}</script></body></html>\n'
        )

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page whole, and return its path.

        Raises:
            OSError: It can't be written.
        """
        write_whole(path, self.render())
        return Path(path)


def _signature() -> str:
    from aktis.air.__about__ import __version__

    return f"Written by Aktis {__version__}, {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}."


@cache
def _asset(name: str) -> str:
    return (Path(__file__).parent / "_html" / name).read_text(encoding="utf-8")


def figure(content: str, caption: str = "") -> str:
    """A chart with a line below it."""
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{content}{text}</figure>"


def legend(low: str, high: str, top: str = "") -> str:
    """What pale and strong colours mean, and the one of what is pointed out."""
    best = f"<i></i>{escape(top)}" if top else ""
    return f'<div class="legend">{escape(low)}<span class="ramp"></span>{escape(high)}{best}</div>'


def colour_legend(names: Sequence[str], colours: Sequence[int] | None = None) -> str:
    """What the colours (0, 1, 2, ... when left out) mean; see ``Series.colour``."""
    shown = range(len(names)) if colours is None else colours
    items = "".join(
        f'<span><i class="c{colour % COLOURS}"></i>{escape(name)}</span>'
        for name, colour in zip(names, shown, strict=True)
    )
    return f'<div class="legend colours">{items}</div>'


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    keys: Sequence[str] | None = None,
    tops: Sequence[int] = (),
    filterable: bool = True,
    long_columns: Sequence[int] = (),
) -> str:
    """A table that is sorted by a click on a heading, and filtered by words.

    Args:
        header: Headings.
        rows: Cells: numbers are shown in few digits and sorted by their value; None is empty.
        keys: Keys of the rows, so that pointing at one shows it in the charts.
        tops: Indexes of rows to point out.
        filterable: With a field to filter by.
        long_columns: Indexes of columns whose text may be broken.
    """
    numeric = [
        all(_is_number(row[i]) for row in rows if row[i] is not None and row[i] != "") for i in range(len(header))
    ]
    heads = "".join(
        f'<th data-sort="{"n" if numeric[i] else "s"}"{" class=n" if numeric[i] else ""}>{escape(name)}</th>'
        for i, name in enumerate(header)
    )
    wrapped, best = set(long_columns), set(tops)
    lines = []
    for number, row in enumerate(rows):
        key = f' data-k="{escape(keys[number])}"' if keys else ""
        kind = ' class="top"' if number in best else ""
        cells = "".join(_cell(value, numeric[i], i in wrapped) for i, value in enumerate(row))
        lines.append(f"<tr{key}{kind}>{cells}</tr>")
    tools = ""
    if filterable and len(rows) > 8:
        tools = (
            '<div class="tools"><input type="search" placeholder="filter by words" aria-label="filter by words">'
            f'<output class="note">{len(rows)} of {len(rows)}</output></div>'
        )
    return (
        f'<div>{tools}<div class="scroll"><table class="rich"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></div>"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _cell(value: Any, numeric: bool, wrapped: bool) -> str:
    if not numeric:
        text = escape("" if value is None else str(value) if wrapped else format_value(value, 60))
        return f'<td class="long">{text}</td>' if wrapped else f"<td>{text}</td>"
    if value is None or value == "":
        return '<td class="n"></td>'
    text = format_value(value)
    number = float(value)
    exact = "" if not math.isfinite(number) or text == repr(value) else f' data-v="{number!r}"'
    return f'<td class="n"{exact}>{escape(text)}</td>'


def fragment_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A small table without style sheet and script, for the outputs of notebooks."""
    style = "padding:.15em .7em;text-align:left;white-space:nowrap"
    heads = "".join(f"<th style='{style}'>{escape(str(name))}</th>" for name in header)
    lines = "".join(
        "<tr>" + "".join(f"<td style='{style}'>{escape(format_value(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<div style='overflow-x:auto'><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
