"""Charts as SVG. The script of the page adds what happens under the pointer; without it they are still whole.

Lines are drawn at half a unit's precision, as integers relative to the point before: a thousand curves stay small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from aktis.air._html.scales import Scale, categories_scale, number_scale, suits_log
from aktis.air.display import format_value

__all__ = [
    "COLOURS", "Axis", "Mark", "Series", "bar_chart", "line_chart", "parallel_coordinates", "scatter", "stacked_bars",
]  # fmt: skip

COLOURS = 8  # that can be told apart, see the style sheet
_SHADES = 10
_MOST_LABELS = 6  # of marks; more would cover the lines
_NARROW = 115  # units between two parallel axes, below which their labels need two rows
_POINTS_OF_ALL = 60_000  # a page with more is slow under the pointer


@dataclass
class Series:
    """A line of a line chart.

    Attributes:
        name: Shown under the pointer.
        xs: Where.
        ys: What; NaN leaves a gap.
        key: What belongs together on the page has the same key.
        shade: 0 (pale) to 1 (strong); None: the plain colour.
        top: Drawn in the colour of what is best, above the others.
        colour: One of the colours that tell a few lines apart, from 0; they repeat after ``COLOURS``.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    key: str | None = None
    shade: float | None = None
    top: bool = False
    colour: int | None = None


@dataclass
class Mark:
    """Something that happened at ``x``: a vertical line. ``kind`` "bad" colours it."""

    x: float
    label: str
    kind: str = ""


@dataclass
class Axis:
    """An axis of parallel coordinates: numbers, or anything else, which are then categories. None: not known."""

    label: str
    values: Sequence[Any]
    log: bool | None = None  # None: when it suits the values
    names: list[str] = field(default_factory=list)

    def scale(self, start: float, end: float) -> tuple[Scale, list[float | None]]:
        """The scale, and each value as a number on it."""
        numbers = [value for value in self.values if value is not None]
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in numbers) and numbers:
            floats = [None if value is None or not math.isfinite(value) else float(value) for value in self.values]
            known = [value for value in floats if value is not None]
            log = suits_log(known) if self.log is None else self.log
            return number_scale(known, start, end, log), floats
        texts = [None if value is None else str(value) for value in self.values]
        names = sorted({text for text in texts if text is not None})
        places = {name: float(index) for index, name in enumerate(names)}
        return categories_scale(names, start, end), [None if text is None else places[text] for text in texts]


def _attributes(
    key: str | None,
    shade: float | None = None,
    top: bool = False,
    name: str | None = None,
    colour: int | None = None,
) -> str:
    names = (["top"] if top else []) + ([f"s{round(shade * _SHADES)}"] if shade is not None and not top else [])
    names += [f"c{colour % COLOURS}"] if colour is not None and not top else []
    text = f' class="{" ".join(names)}"' if names else ""
    if key is not None:
        text += f' data-k="{escape(key)}"'
    elif name:
        text += f' data-n="{escape(name)}"'
    return text


def _crowd(lines: int) -> str:
    """The class that makes lines paler, so that many of them can still be told apart."""
    return " most" if lines > 300 else " many" if lines > 30 else ""


def shade_styles() -> str:
    """The style sheet of shades: mixed by the browser, so that they fit light and dark."""
    rules = []
    for step in range(_SHADES + 1):
        colour = f"color-mix(in oklab, var(--lo), var(--hi) {step * 100 // _SHADES}%)"
        rules.append(f"svg .d path.s{step} {{ stroke: {colour}; }} svg circle.s{step} {{ fill: {colour}; }}")
    for number in range(COLOURS):
        colour = f"var(--c{number})"
        rules.append(f"svg .d path.c{number} {{ stroke: {colour}; }} svg rect.c{number} {{ fill: {colour}; }}")
        rules.append(f".legend i.c{number} {{ background: {colour}; }}")
    return "\n".join(rules)


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """The ``d`` of a path in half units; None is a gap."""
    parts: list[str] = []
    before: tuple[int, int] | None = None
    steps: list[str] = []

    def end() -> None:
        if steps:
            parts.append("l" + " ".join(steps))
            steps.clear()

    for point in points:
        if point is None:
            end()
            before = None
            continue
        x, y = round(point[0] * 2), round(point[1] * 2)
        if before is None:
            parts.append(f"M{x} {y}")
        elif (x, y) != before:
            steps.append(f"{x - before[0]} {y - before[1]}")
        before = (x, y)
    end()
    return "".join(parts)


def thin_out(xs: Sequence[float], ys: Sequence[float], most: int) -> list[tuple[float, float]]:
    """At most about ``most`` points: of each stretch its lowest and highest, so that peaks stay. The ends stay, too."""
    points = list(zip(xs, ys, strict=True))
    if len(points) <= most or most < 4:
        return points
    inner, stretches = points[1:-1], max(1, (most - 2) // 2)
    kept = [points[0]]
    for number in range(stretches):
        piece = inner[number * len(inner) // stretches : (number + 1) * len(inner) // stretches]
        known = [index for index in range(len(piece)) if math.isfinite(piece[index][1])]
        if known:
            low = min(known, key=lambda index: piece[index][1])
            high = max(known, key=lambda index: piece[index][1])
            kept += [piece[index] for index in sorted({low, high})]
        elif piece:
            kept.append(piece[0])
    return [*kept, points[-1]]


def _frame(
    x: Scale, y: Scale, x_label: str, y_label: str, left: float, bottom: float, right: float, top: float
) -> list[str]:
    """Grid, numbers and labels."""
    parts = []
    for value, text in y.ticks:
        at = y(value)
        parts.append(f'<line class="g" x1="{left:g}" x2="{right:g}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="e" x="{left - 7:g}" y="{at + 4:.1f}">{escape(format_value(text, 14))}</text>')
    for value, text in _spaced(x):
        at = x(value)
        parts.append(f'<line class="g" x1="{at:.1f}" x2="{at:.1f}" y1="{top:g}" y2="{bottom:g}"/>')
        parts.append(f'<text class="m" x="{at:.1f}" y="{bottom + 17:g}">{escape(format_value(text, 14))}</text>')
    parts.append(f'<line class="a" x1="{left:g}" x2="{right:g}" y1="{bottom:g}" y2="{bottom:g}"/>')
    parts.append(f'<text class="e t" x="{right:g}" y="{bottom + 34:g}">{escape(format_value(x_label, 50))}</text>')
    parts.append(
        f'<text class="t" x="{max(0, left - 40):g}" y="{top - 9:g}">{escape(format_value(y_label, 50))}</text>'
    )
    return parts


def _spaced(scale: Scale) -> list[tuple[float, str]]:
    """Ticks of a horizontal axis without those whose text would run into the one before."""
    kept: list[tuple[float, str]] = []
    end = -math.inf
    for value, text in scale.ticks:
        half = 3.6 * min(len(text), 14)
        if scale(value) - half > end + 6:
            kept.append((value, text))
            end = scale(value) + half
    return kept


def _svg(kind: str, width: int, height: int, body: Sequence[str], label: str, **data: str) -> str:
    attributes = "".join(f' data-{name}="{escape(value)}"' for name, value in data.items())
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}" data-kind="{kind}"{attributes}>'
        f"{''.join(body)}</svg>"
    )


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str = "",
    y_label: str = "",
    x_log: bool = False,
    y_log: bool | None = None,
    y_zero: bool = False,
    marks: Sequence[Mark] = (),
    width: int = 900,
    height: int = 340,
) -> str:
    """Many lines in one picture. With many points each line is thinned out, and its peaks stay.

    ``y_log=None`` takes a logarithmic axis where the values spread over three orders of magnitude or more. ``y_zero`` lets the
    axis begin at 0, for amounts. ``marks`` say what happened when.
    """
    left, top, right, bottom = 62, 26, width - 12, height - 42
    x = number_scale([value for one in series for value in one.xs], left, right, x_log, margin=0.0)
    heights = _without_outliers([value for one in series for value in one.ys])
    y_log = not y_zero and suits_log(heights, 1000) if y_log is None else y_log
    y = number_scale(heights, bottom, top, y_log)
    if y_zero and not y_log and heights:
        y = Scale(0.0, max(heights) * 1.04 or 1.0, bottom, top)
    most = min(400, max(24, _POINTS_OF_ALL // max(1, len(series))))
    body = _frame(x, y, x_label, y_label, left, bottom, right, top)
    body += _marks(marks, x, bottom, top)
    body.append(f'<g class="d{_crowd(len(series))}" transform="scale(.5)">')
    for one in sorted(series, key=lambda item: (item.top, item.shade or 0.0)):
        points: list[tuple[float, float] | None] = []
        for px, py in thin_out(one.xs, one.ys, most):
            drawable = math.isfinite(px) and math.isfinite(py) and not (y_log and py <= 0) and not (x_log and px <= 0)
            points.append((x(px), min(max(y(py), top), bottom)) if drawable else None)
        known = [point for point in points if point is not None]
        if len(known) == 1:  # a line of one point would not be seen
            points = [known[0], (known[0][0] + 2.5, known[0][1])]
        path = _path(points)
        if path:
            body.append(f'<path d="{path}"{_attributes(one.key, one.shade, one.top, one.name, one.colour)}/>')
    body.append("</g>")
    data = {"x": x.description, "y": y.description, "xl": x_label, "yl": y_label}
    if all(value == int(value) for one in series for value in one.xs if math.isfinite(value)):
        data["xi"] = "1"  # a place between two epochs is no place
    return _svg("line", width, height, body, f"{y_label} over {x_label}: {len(series)} lines", **data)


def _marks(marks: Sequence[Mark], x: Scale, bottom: float, top: float) -> list[str]:
    parts, end = [], -math.inf
    for mark in sorted(marks, key=lambda mark: mark.x):
        if not (math.isfinite(mark.x) and x.lo <= mark.x <= x.hi):
            continue
        at, kind = x(mark.x), f" {mark.kind}" if mark.kind else ""
        parts.append(f'<g class="mark{escape(kind)}"><title>{escape(mark.label)}</title>')
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top:g}" y2="{bottom:g}"/>')
        text = format_value(mark.label, 24)
        room = at > end and at + 4 + 6.4 * len(text) < x.end
        if len(marks) <= _MOST_LABELS and room:
            parts.append(f'<text x="{at + 4:.1f}" y="{top + 11:g}">{escape(text)}</text>')
            end = at + 10 + 6.4 * len(text)
        parts.append("</g>")
    return parts


def _without_outliers(values: Sequence[float]) -> list[float]:
    """Without the few values that are so far away that they would flatten all others; those are drawn at the border."""
    found = sorted(value for value in values if math.isfinite(value))
    if len(found) < 20:
        return found
    aside = max(1, len(found) // 50)
    low, high = found[aside], found[-1 - aside]
    reach = 4 * (high - low)
    return [value for value in found if low - reach <= value <= high + reach] if reach > 0 else found


def scatter(
    xs: Sequence[Any],
    ys: Sequence[float | None],
    *,
    keys: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    shades: Sequence[float | None] | None = None,
    front: Sequence[int] = (),
    tops: Sequence[int] = (),
    x_label: str = "",
    y_label: str = "",
    x_log: bool | None = None,
    y_log: bool | None = False,
    width: int = 560,
    height: int = 330,
) -> str:
    """Points. ``front`` are indexes of points that are joined by a line, in order; ``tops`` of points to point out."""
    left, top, right, bottom = 62, 26, width - 12, height - 42
    x, px = Axis(x_label, xs, x_log).scale(left, right)
    y, py = Axis(y_label, ys, y_log).scale(bottom, top)
    body = _frame(x, y, x_label, y_label, left, bottom, right, top)
    places = [None if a is None or b is None else (x(a), y(b)) for a, b in zip(_spread(px, x), py, strict=True)]
    joined = [places[index] for index in front if places[index] is not None]
    if len(joined) > 1:
        body.append(f'<polyline class="front" points="{" ".join(f"{p[0]:.1f},{p[1]:.1f}" for p in joined if p)}"/>')
    chosen, radius = set(tops) | set(front), 3.2 if len(places) > 300 else 4.2
    for index in sorted(range(len(places)), key=lambda index: index in chosen):
        place = places[index]
        if place is None:
            continue
        attributes = _attributes(
            keys[index] if keys else None,
            shades[index] if shades else None,
            index in chosen,
            names[index] if names else None,
        )
        body.append(f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{radius}"{attributes}/>')
    data = {"x": x.description, "xl": x_label, "yl": y_label}
    if not x.names and not y.names:
        data["y"] = y.description
    return _svg("scatter", width, height, body, f"{y_label} against {x_label}", **data)


def _spread(values: Sequence[float | None], scale: Scale) -> list[float | None]:
    """Categories: points side by side rather than on top of each other, always at the same place."""
    if not scale.names:
        return list(values)
    seen: dict[float, int] = {}
    spread: list[float | None] = []
    for value in values:
        if value is None:
            spread.append(None)
            continue
        number = seen[value] = seen.get(value, -1) + 1
        spread.append(value + ((number * 0.618034) % 1.0 - 0.5) * 0.5)
    return spread


def bar_chart(items: Mapping[str, float] | Sequence[tuple[str, float]], *, width: int = 640, digits: int = 2) -> str:
    """Horizontal bars, in the given order."""
    pairs = list(items.items()) if isinstance(items, Mapping) else list(items)
    left = min(240, 14 + 7.2 * max((len(name) for name, _ in pairs), default=0))
    longest = max((value for _, value in pairs if math.isfinite(value)), default=0.0) or 1.0
    body = []
    for row, (name, value) in enumerate(pairs):
        y = 6 + row * 26
        length = max(1.0, (width - left - 60) * max(0.0, value) / longest) if math.isfinite(value) else 1.0
        body.append(f'<text class="e t" x="{left - 8:g}" y="{y + 14}">{escape(format_value(name, 32))}</text>')
        body.append(f'<rect class="bar" x="{left:g}" y="{y}" width="{length:.1f}" height="18" rx="3"/>')
        body.append(f'<text x="{left + length + 7:.1f}" y="{y + 14}">{value:.{digits}f}</text>')
    return _svg("bar", width, 12 + 26 * len(pairs), body, "bars: " + ", ".join(name for name, _ in pairs))


def stacked_bars(
    rows: Sequence[tuple[str, Sequence[float]]],
    parts: Sequence[str],
    *,
    keys: Sequence[str] | None = None,
    colours: Sequence[int] | None = None,
    unit: str = "",
    width: int = 900,
) -> str:
    """Horizontal bars that are made of parts, in the given order.

    Args:
        rows: The name of each bar, and a value for each part.
        parts: What the parts are, for the pointer.
        keys: See :class:`Series`; of each bar.
        colours: Of the parts; 0, 1, 2, ... when left out.
        unit: Written behind the totals.
        width: Of the picture.
    """
    left = min(240, 14 + 7.2 * max((len(name) for name, _ in rows), default=0))
    totals = [sum(max(0.0, value) for value in values if math.isfinite(value)) for _, values in rows]
    scale = (width - left - 90) / (max(totals, default=0.0) or 1.0)
    shown = range(len(parts)) if colours is None else colours
    body = []
    for row, (name, values) in enumerate(rows):
        y, at = 6 + row * 26, left
        key = f' data-k="{escape(keys[row])}"' if keys else ""
        body.append(f'<g class="row"{key}>')
        body.append(f'<text class="e t" x="{left - 8:g}" y="{y + 14}">{escape(format_value(name, 32))}</text>')
        for number, (part, value) in enumerate(zip(parts, values, strict=True)):
            length = scale * max(0.0, value) if math.isfinite(value) else 0.0
            said = f"{name}, {part}: {format_value(value)} {unit} ({value / (totals[row] or 1.0):.0%})"
            body.append(
                f'<g><title>{escape(said)}</title><rect class="c{shown[number] % COLOURS}" x="{at:.1f}" y="{y}" '
            )
            body.append(f'width="{length:.1f}" height="18"/></g>')
            at += length
        body.append(
            f'<text x="{at + 7:.1f}" y="{y + 14}">{escape(f"{format_value(totals[row])} {unit}".strip())}</text></g>'
        )
    return _svg("bars", width, 12 + 26 * len(rows), body, "bars: " + ", ".join(name for name, _ in rows))


def parallel_coordinates(
    axes: Sequence[Axis],
    *,
    keys: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    shades: Sequence[float | None] | None = None,
    tops: Sequence[int] = (),
    width: int = 1100,
    height: int = 360,
) -> str:
    """One line per item through its value on each axis. Dragging along an axis keeps the lines that pass there."""
    left, right = 70, width - 90
    step = (right - left) / max(1, len(axes) - 1)
    top, bottom = 34 + (18 if step < _NARROW else 0), height - 14
    scaled = [axis.scale(bottom, top) for axis in axes]
    count = len(axes[0].values) if axes else 0
    lines = []
    for index in sorted(range(count), key=lambda i: (i in tops, (shades[i] or 0.0) if shades else 0.0)):
        points: list[tuple[float, float] | None] = []
        for number, (scale, values) in enumerate(scaled):
            value = values[index]
            # What is not known is drawn below the axis, so that the line goes on.
            points.append((left + number * step, scale(value) if value is not None else bottom + 10))
        attributes = _attributes(
            keys[index] if keys else None,
            shades[index] if shades else None,
            index in tops,
            names[index] if names else None,
        )
        lines.append(f'<path d="{_path_of_all(points)}"{attributes}/>')
    body = [f'<g class="d{_crowd(count)}" transform="scale(.5)">{"".join(lines)}</g>']
    for number, (axis, (scale, _)) in enumerate(zip(axes, scaled, strict=True)):
        raised = step < _NARROW and number % 2 == 1
        body.append(_vertical_axis(axis.label, scale, left + number * step, top, bottom, step, raised, width))
    return _svg(
        "parallel", width, height, body, "parallel coordinates of " + ", ".join(a.label for a in axes), x="[0,1,0,1,0]"
    )


def _path_of_all(points: Sequence[tuple[float, float] | None]) -> str:
    """A path that keeps every point, also equal ones: the script counts them to find an axis."""
    known = [(round(p[0] * 2), round(p[1] * 2)) for p in points if p is not None]
    steps = [f"{b[0] - a[0]} {b[1] - a[1]}" for a, b in zip(known, known[1:])]
    return f"M{known[0][0]} {known[0][1]}" + (f"l{' '.join(steps)}" if steps else "") if known else ""


def _vertical_axis(
    label: str, scale: Scale, x: float, top: float, bottom: float, step: float, raised: bool, width: float
) -> str:
    narrow = step < _NARROW
    # Of narrow axes every other label is raised, so each has room for two; and none may leave the picture.
    room = max(6, int(min(step * (2 if narrow else 1), 2 * x, 2 * (width - x)) / 7.4))
    parts = [f'<g class="axis"><line class="a" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke-width="1.5"/>']
    height = top - 14 - (17 if raised else 0)
    parts.append(f'<text class="m t" x="{x:.1f}" y="{height}">{escape(format_value(label, room))}</text>')
    ticks = scale.ticks
    ticks = ticks[:: max(1, math.ceil(len(ticks) / (9 if narrow else 18)))]
    for value, text in ticks:
        cell = escape(format_value(text, 8 if narrow else 14))
        parts.append(f'<text class="e" x="{x - 6:.1f}" y="{scale(value) + 4:.1f}">{cell}</text>')
    parts.append(f'<rect class="brush" x="{x - 6:.1f}" width="12" y="{top}" height="0"/>')
    parts.append(f'<rect class="hit" x="{x - 9:.1f}" width="18" y="{top - 6}" height="{bottom - top + 12}"/></g>')
    return "".join(parts)
