"""What LightGBM prints in workers."""

from __future__ import annotations

from aktis.train._gbdt.libraries import import_library

__all__ = ["silence_network"]

_INFORMATION = "[LightGBM] [Info]"
_WAITING = "[LightGBM] [Warning] Connecting to rank"


class _WithoutNetwork:
    """Prints what LightGBM says, but for what it does before it knows how much it may say: connect to the others."""

    def info(self, message: str) -> None:
        if not message.startswith((_INFORMATION, _WAITING)):
            print(message)

    warning = info


def silence_network() -> None:
    """Have LightGBM keep quiet about connections, in this process, from now on."""
    import_library("lightgbm").register_logger(_WithoutNetwork())
