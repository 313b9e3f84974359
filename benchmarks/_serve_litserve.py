"""The echo of LitServe, in a module of its own: its processes import it by name."""

from __future__ import annotations

from typing import Any

import litserve


class Echo(litserve.LitAPI):  # type: ignore[misc, unused-ignore]
    """Answers what it is given."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe reads an annotation as one of FastAPI's
        return request["q"]

    def predict(self, x: Any) -> Any:
        return x

    def encode_response(self, output: Any) -> Any:
        return output
