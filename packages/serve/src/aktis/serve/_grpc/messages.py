"""The messages and services that Ray's clients know, made at run time from what they are on the wire.

``ray.serve.RayServeAPIService`` (ListApplications, Healthz), and ``ray.serve.PredictAPIsService`` (Predict) of Ray 2.3. Where a
program has Ray's own generated modules loaded, their messages are used.
"""

from __future__ import annotations

import functools
from typing import Any

API_SERVICE = "ray.serve.RayServeAPIService"
_FILE = "aktis/serve/{}.proto"
SERVICES: dict[str, dict[str, tuple[str, str]]] = {
    "RayServeAPIService": {
        "ListApplications": ("ListApplicationsRequest", "ListApplicationsResponse"),
        "Healthz": ("HealthzRequest", "HealthzResponse"),
    },
    "PredictAPIsService": {"Predict": ("PredictRequest", "PredictResponse")},
}


def _field(message: Any, name: str, number: int, kind: str, *, repeated: bool = False, of: str = "") -> None:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto

    field = message.field.add(name=name, number=number)
    field.type = getattr(FieldDescriptorProto, f"TYPE_{kind}")
    field.label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    if of:
        field.type_name = of


def _describe(service: str) -> Any:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    file = FileDescriptorProto(name=_FILE.format(service), package="ray.serve", syntax="proto3")
    for name in dict.fromkeys(each for pair in SERVICES[service].values() for each in pair):
        message = file.message_type.add(name=name)
        if name == "ListApplicationsResponse":
            _field(message, "application_names", 1, "STRING", repeated=True)
        elif name == "HealthzResponse":
            _field(message, "message", 1, "STRING")
        elif name == "PredictResponse":
            _field(message, "prediction", 1, "BYTES")
        elif name == "PredictRequest":
            entry = message.nested_type.add(name="InputEntry")
            entry.options.map_entry = True
            _field(entry, "key", 1, "STRING")
            _field(entry, "value", 2, "BYTES")
            _field(message, "input", 2, "MESSAGE", repeated=True, of=".ray.serve.PredictRequest.InputEntry")
    described = file.service.add(name=service)
    for name, (taken, given) in SERVICES[service].items():
        described.method.add(name=name, input_type=f".ray.serve.{taken}", output_type=f".ray.serve.{given}")
    return file


@functools.cache
def messages(service: str) -> dict[str, Any]:
    """Classes of the messages of a service ("RayServeAPIService" or "PredictAPIsService"), by name."""
    from google.protobuf import descriptor_pool, message_factory

    pool = descriptor_pool.Default()
    try:
        pool.FindServiceByName(f"ray.serve.{service}")
    except KeyError:
        pool.Add(_describe(service)) if hasattr(pool, "Add") else pool.AddSerializedFile(
            _describe(service).SerializeToString()
        )
    make = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    names = {each for pair in SERVICES[service].values() for each in pair}
    return {name: make(pool.FindMessageTypeByName(f"ray.serve.{name}")) for name in names}


def handler(service: str, methods: dict[str, Any]) -> Any:
    """A generic handler of grpcio for the service, of functions ``(request, context)``."""
    import grpc

    classes = messages(service)
    handlers = {}
    for name, (taken, given) in SERVICES[service].items():
        handlers[name] = grpc.unary_unary_rpc_method_handler(
            methods[name],
            request_deserializer=classes[taken].FromString,
            response_serializer=classes[given].SerializeToString,
        )
    return grpc.method_handlers_generic_handler(f"ray.serve.{service}", handlers)
