"""Stubs and servicers of Ray's own gRPC services, as programs import them."""

from __future__ import annotations

from typing import Any

from aktis.serve._grpc.drivers import PredictAPIsServiceServicer, add_PredictAPIsServiceServicer_to_server
from aktis.serve._grpc.messages import SERVICES, messages


class _Stub:
    """Methods of a service, to be called over a channel of grpcio."""

    _service = ""

    def __init__(self, channel: Any) -> None:
        classes = messages(self._service)
        for name, (taken, given) in SERVICES[self._service].items():
            call = channel.unary_unary(
                f"/ray.serve.{self._service}/{name}",
                request_serializer=classes[taken].SerializeToString,
                response_deserializer=classes[given].FromString,
            )
            setattr(self, name, call)


class PredictAPIsServiceStub(_Stub):
    """``Predict`` of ``DefaultgRPCDriver``."""

    _service = "PredictAPIsService"


class RayServeAPIServiceStub(_Stub):
    """``ListApplications`` and ``Healthz`` of the proxies."""

    _service = "RayServeAPIService"


__all__ = [
    "PredictAPIsServiceServicer",
    "PredictAPIsServiceStub",
    "RayServeAPIServiceStub",
    "add_PredictAPIsServiceServicer_to_server",
]
