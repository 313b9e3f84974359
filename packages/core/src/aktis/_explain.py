"""``aktis.explain``: why a reference is not ready, or what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aktis import _session

if TYPE_CHECKING:
    from aktis.object_ref import ObjectRef


@dataclass(frozen=True)
class Explanation:
    """An answer for people (``str(explanation)``) and for programs (the attributes).

    ``state`` is one of the task states of ``aktis list tasks`` (``FINISHED``, ``FAILED``, ``RUNNING``, ``PENDING_...``);
    ``details`` is the data behind the sentence: what is waited for, who holds it, how many calls are ahead, the chain
    of what went wrong.
    """

    ref: str
    state: str
    sentence: str
    details: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "details" or name not in self.details:
            raise AttributeError(f"this explanation has no {name!r}; it has: {', '.join(self.details) or 'no details'}")
        return self.details[name]


def explain(ref: ObjectRef[Any]) -> Explanation:
    """Say why ``ref`` is not ready yet, or, when it is, what happened to it."""
    from aktis._generators import ObjectRefGenerator
    from aktis.object_ref import ObjectRef

    if isinstance(ref, ObjectRefGenerator):
        ref = ref.completed()
    if not isinstance(ref, ObjectRef):
        raise TypeError(f"explain() takes an ObjectRef, got {ref!r} ({type(ref).__name__})")
    facts = dict(_session.running_engine().explain(ref))
    return Explanation(ref.hex(), str(facts.pop("state")), str(facts.pop("sentence")), facts)
