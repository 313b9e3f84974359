"""What the API reference needs to know of our sources: names that packages import lazily, and references in docstrings.

Docstrings announce code with ``::``, and refer to other things as ``:class:`Tuner` `` or ``:meth:`~aktis.data.Dataset.map` ``.
On pages code is what is indented, and references are links.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).resolve().parent))

from api_names import lazy_names, sources

# What announces a block of code, behind a text or alone.
LITERAL = re.compile(r"(?:(?<=(?P<text>\S))|^[ ]*)::$", re.MULTILINE)
_loading = True

ROLE = re.compile(r":(?:py:)?(?:class|func|meth|mod|attr|exc|data|obj|const):`(?P<short>~?)(?P<name>[\w.]+)(?:\(\))?`")


def _asked_once(owner: type, name: str) -> None:
    """Make a property remember its value. Templates ask for inherited members of every class many times over, and griffe makes
    them anew each time, which takes longer than everything else. Not while a package is loaded: they may be incomplete then.
    """
    compute = vars(owner)[name].fget

    def remembered(self: Any) -> Any:
        if _loading:
            return compute(self)
        if f"_{name}" not in self.__dict__:
            self.__dict__[f"_{name}"] = compute(self)
        return self.__dict__[f"_{name}"]

    setattr(owner, name, property(remembered))


def _resolved(scope: griffe.Object, name: str) -> str:
    """The full name that a short one means in a docstring of ``scope``."""
    if name.startswith("aktis"):
        return name
    here: Any = scope
    while here is not None:
        first = name.partition(".")[0]
        if first in here.all_members:
            return f"{here.path}.{name}"
        here = here.parent
    return name


def _link(scope: griffe.Object, match: re.Match[str]) -> str:
    name = match["name"]
    text = name.rpartition(".")[2] if match["short"] else name
    return f'<autoref identifier="{_resolved(scope, name)}" optional><code>{text}</code></autoref>'


_asked_once(griffe.Object, "inherited_members")
_asked_once(griffe.Alias, "inherited_members")


class AktisExtension(griffe.Extension):
    """Lazy names become aliases, roles become links."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        global _loading
        _loading = True
        for module in sources():
            for name, origin in lazy_names(module).items():
                holder = pkg[module.partition(".")[2]] if "." in module else pkg
                if name not in holder.members:
                    holder.set_member(name, griffe.Alias(name, f"{origin}.{name}"))
        self._rewrite(pkg)
        _loading = False

    def _rewrite(self, thing: griffe.Object | griffe.Alias) -> None:
        for member in list(thing.members.values()):
            if not member.is_alias:
                self._rewrite(member)
        if isinstance(thing, griffe.Object) and thing.docstring is not None:
            text = LITERAL.sub(lambda match: ":" if match["text"] else "", thing.docstring.value)
            thing.docstring.value = ROLE.sub(lambda match: _link(thing, match), text)
