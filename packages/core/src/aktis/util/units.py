"""Numbers as people read them, the same in all commands, displays and messages."""

from __future__ import annotations

__all__ = ["format_bytes", "format_count", "format_seconds"]


def format_bytes(size: float | None) -> str:
    """``734 KB``, ``1.2 GB``: powers of 1,000, as file sizes are shown; "" for None."""
    if size is None:
        return ""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or abs(size) >= 99.5 else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def format_count(number: float) -> str:
    """``950``, ``12,345``, ``1.2M``: exact where that is short."""
    if abs(number) < 100_000:
        return f"{number:,.0f}"
    if abs(number) < 999_500:
        return f"{number / 1e3:.0f}k"
    if abs(number) < 999.5e6:
        return f"{number / 1e6:.3g}M"
    return f"{number / 1e9:,.3g}G"


def format_seconds(seconds: float) -> str:
    """``85 us``, ``12.3 ms``, ``4.21 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if 0 < seconds < 0.9995e-3:
        return f"{seconds * 1e6:.3g} us"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 99.5:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"
