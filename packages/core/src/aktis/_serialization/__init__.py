"""Python values to bytes and buffers, and back; why something cannot be pickled."""

from aktis._serialization.diagnose import diagnose, explain_failure
from aktis._serialization.errors import pack_exception, unpack_exception
from aktis._serialization.functions import pack_function, unpack_function
from aktis._serialization.values import (
    Packed,
    deregister_serializer,
    note_reference,
    pack,
    pack_arguments,
    register_serializer,
    unpack,
)

__all__ = [
    "Packed",
    "deregister_serializer",
    "diagnose",
    "explain_failure",
    "note_reference",
    "pack",
    "pack_arguments",
    "pack_exception",
    "pack_function",
    "register_serializer",
    "unpack",
    "unpack_exception",
    "unpack_function",
]
