"""Progress bars that work in workers too, under the name that scripts written for Ray import."""

from __future__ import annotations

from aktis.util.tqdm import safe_print, tqdm

__all__ = ["safe_print", "tqdm"]
