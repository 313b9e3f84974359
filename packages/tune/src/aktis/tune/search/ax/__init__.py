"""Search by Ax."""

from aktis.tune.search.ax.ax_search import AxSearch

__all__ = ["AxSearch"]
