"""What Ray is given of a user's functions and classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from aktis._engine import ClassDescriptor, FunctionDescriptor
from aktis._ray import refs
from aktis._serialization import functions

E = TypeVar("E", bound="Exported[Any, Any]")
Descriptor = TypeVar("Descriptor", FunctionDescriptor, ClassDescriptor)
Options = TypeVar("Options")


class Exported(ABC, Generic[Descriptor, Options]):
    """A user's function or class as Ray has it, one per session.

    Ray takes some options at the definition only: there is a definition for each :meth:`key`.
    """

    def __init__(self, engine: Any, descriptor: Descriptor) -> None:
        self.epoch = refs.epoch
        self.engine = engine
        self.descriptor: Descriptor = descriptor
        self._original: Any = descriptor.function if isinstance(descriptor, FunctionDescriptor) else descriptor.cls
        self.target: Any = self._original  # what is shipped
        self._made: dict[Hashable, Any] = {}

    @classmethod
    def of(cls: type[E], engine: Any, descriptor: FunctionDescriptor | ClassDescriptor) -> E:
        """The one of this session; it is made when there is none yet."""
        found = descriptor.engine_state
        if not (isinstance(found, cls) and found.epoch == refs.epoch):
            found = descriptor.engine_state = cls(engine, descriptor)
        return found

    @abstractmethod
    def key(self, options: Options) -> Hashable:
        """The part of the options that Ray takes at the definition."""

    @abstractmethod
    def make(self, options: Options) -> Any:
        """Ray's definition for calls with these options."""

    def remote(self, options: Options) -> Any:
        """The same, made once for each :meth:`key`."""
        key = self.key(options)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self.make(options)
        return made

    def by_reference(self) -> bool:
        """From now on it goes by its name, for when what it uses cannot be pickled. False if it has no such name."""
        wrapped = functions.by_name(self._original)
        if wrapped is not None:
            self.target = wrapped
            self._made.clear()
        return wrapped is not None
