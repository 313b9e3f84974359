"""What went through Serve: requests and latencies of each route, as its proxies count them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.serve._observe.latency import BOUNDS, percentile

if TYPE_CHECKING:
    from aktis.air.html import Part

__all__ = ["RouteTraffic", "Traffic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTraffic:
    """One route since its proxies started. Latencies are seconds, from the request's headers to the end of the reply."""

    route: str
    app: str
    deployment: str
    requests: int
    errors: int
    """Replies from 400 on, and clients that left."""
    total_s: float
    """All latencies together."""
    buckets: Sequence[int]
    """How many took how long: each range is a fifth wider than the one before, so percentiles are good to 10 %."""

    @property
    def mean_s(self) -> float:
        """The mean latency; 0 without requests."""
        return self.total_s / self.requests if self.requests else 0.0

    def percentile_s(self, share: float) -> float:
        """The latency that ``share`` (0 to 1) of the requests did not exceed; 0 without requests."""
        if not 0 <= share <= 1:
            raise ValueError(f"share must be from 0 to 1 (0.99 for the 99th percentile), not {share!r}")
        return percentile(self.buckets, share)

    def distribution(self) -> tuple[list[float], list[float]]:
        """Latencies, and which share of the requests each was enough for."""
        count, seen = sum(self.buckets), 0
        xs: list[float] = []
        ys: list[float] = []
        for index, number in enumerate(self.buckets[: len(BOUNDS)]):
            if number and not xs:
                xs, ys = [BOUNDS[max(0, index - 1)]], [0.0]
            seen += number
            if xs:
                xs.append(BOUNDS[index])
                ys.append(seen / count)
            if seen == count:
                break
        return xs, ys


@dataclass(frozen=True, slots=True)
class Traffic:
    """All routes: what ``serve.traffic()`` gives, and what can be a part of a report page::

    page = aktis.air.html.Page("My service")
    page.add("Latencies", serve.traffic())
    """

    routes: tuple[RouteTraffic, ...]

    @classmethod
    def of(cls, proxies: Iterable[Mapping[str, Any]]) -> Traffic:
        """The numbers of several proxies, added up by route."""
        found: dict[tuple[str, str, str], RouteTraffic] = {}
        for entry in (entry for stats in proxies for entry in stats.get("routes", ())):
            key = (entry["route"], entry["app"], entry["deployment"])
            before = found.get(key)
            buckets = entry["buckets"]
            found[key] = RouteTraffic(
                route=key[0],
                app=key[1],
                deployment=key[2],
                requests=entry["requests"] + (before.requests if before else 0),
                errors=entry["errors"] + (before.errors if before else 0),
                total_s=entry["seconds"] + (before.total_s if before else 0.0),
                buckets=[a + b for a, b in zip(buckets, before.buckets, strict=True)] if before else list(buckets),
            )
        known = [each for each in found.values() if each.deployment or each.requests]
        return cls(tuple(sorted(known, key=lambda each: (not each.deployment, each.route))))

    def add_to_page(self, part: Part) -> None:
        """Add the latencies of each route to a page."""
        from aktis.air.display import format_value
        from aktis.air.html import COLOURS, Fact, Series, colour_legend, line_chart, table

        served = [each for each in self.routes if each.deployment]
        requests, errors = sum(each.requests for each in self.routes), sum(each.errors for each in self.routes)
        facts = [Fact("requests", f"{requests:,}"), Fact("errors", f"{errors:,}", kind="bad" if errors else "")]
        if len(served) == 1 and served[0].requests:
            facts += [
                Fact(label, f"{format_value(served[0].percentile_s(share) * 1000)} ms", note)
                for label, share, note in (("median", 0.5, ""), ("95 %", 0.95, "were not slower"), ("99 %", 0.99, ""))
            ]
        part.facts(facts)
        section = part.section("Latencies")
        lines: list[Series] = []
        names: list[str] = []
        for each in served:
            xs, ys = each.distribution()
            if xs:
                colour = len(lines) % COLOURS if len(served) > 1 else None
                lines.append(Series(each.route, [x * 1000 for x in xs], [100 * y for y in ys], colour=colour))
                names.append(each.route)
        if lines:
            section.text("How many of the requests were answered within which time, as the proxy sees it.")
            legend = [colour_legend(names)] if len(lines) > 1 else []
            chart = line_chart(
                lines, x_label="milliseconds", y_label="% of requests", x_log=True, y_zero=True, height=300
            )
            section.add(*legend, chart)
        header = ["route", "application", "deployment", "requests", "errors"]
        header += ["mean (ms)", "50 % (ms)", "95 % (ms)", "99 % (ms)"]
        rows = [_row(each) for each in self.routes]
        section.add(table(header, rows)) if rows else section.text("There are no routes yet.")


def _row(each: RouteTraffic) -> list[Any]:
    shares = [each.percentile_s(share) * 1000 if sum(each.buckets) else None for share in (0.5, 0.95, 0.99)]
    mean = each.mean_s * 1000 if sum(each.buckets) else None
    return [each.route or "(none)", each.app, each.deployment, each.requests, each.errors, mean, *shares]
