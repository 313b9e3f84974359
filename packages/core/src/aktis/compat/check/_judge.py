"""How each use is supported, from the table."""

from __future__ import annotations

from dataclasses import dataclass

from aktis.compat import _environment, _names
from aktis.compat._facts import Entry, Facts, Support
from aktis.compat._finder import nearest_modules, nearest_names
from aktis.compat.check._uses import Use

__all__ = ["Verdict", "judge"]

WHOLE, PARTLY, NOT = "whole", "partly", "not"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one use."""

    support: str  # whole, partly or not
    remark: str = ""


def judge(use: Use, facts: Facts, support: Support) -> Verdict:
    """How one use is supported."""
    special = {"string": _string, "option": _string, "variable": _variable, "address": _address}.get(use.kind)
    if special is not None:
        return special(use, support)
    reason = _names.reason_for(use.full)
    if reason and not _is_here(use, facts, support):
        return Verdict(NOT, _absent(use, reason))
    if not use.name:
        absent = support.missing.get(use.module, ())
        if "*" in absent or not facts.is_module(use.module):
            return Verdict(
                NOT, _absent(use, "" if facts.is_module(use.module) else "Ray 1.9 to 2.3 has no such module")
            )
        return Verdict(WHOLE)
    return _name(use, facts, support)


def _is_here(use: Use, facts: Facts, support: Support) -> bool:
    return (
        facts.is_module(use.module)
        and bool(use.name)
        and support.verdict(use.module, use.name) != NOT
        and _known(use, facts)
    )


def _known(use: Use, facts: Facts) -> bool:
    return facts.definition(use.module, use.name) is not None


def _name(use: Use, facts: Facts, support: Support) -> Verdict:
    found = facts.definition(use.module, use.name)
    if found is None and "." in use.name:
        head, _, rest = use.name.partition(".")
        inherited = facts.method(use.module, head, rest) if "." not in rest else None
        if inherited is not None:
            found = inherited
    if found is None:
        return _unknown(use, facts, support)
    where, real, entry = found
    place = use.module if use.kind == "name" and "." not in use.name else where
    name = use.name if place == use.module and use.kind == "name" else real
    if support.verdict(place, name) == NOT:
        return Verdict(NOT, _absent(use, ""))
    if not use.keywords:
        # What a class lacks matters where it is used: methods are looked at by themselves.
        remarks = support.partly.get(f"{place}:{name}", []) if entry.kind not in "fcm" else []
        return Verdict(PARTLY, "; ".join(remarks)) if remarks else Verdict(WHOLE)
    return _call(use, entry, support.partly.get(f"{place}:{name}", support.partly.get(f"{where}:{real}", [])))


def _call(use: Use, entry: Entry, remarks: list[str]) -> Verdict:
    """A call with keywords: those that the table says are missing or without effect."""
    concerned = []
    for remark in remarks:
        said = (
            remark.partition(" (")[0].partition(": ")[2]
            if remark.startswith("no effect")
            else remark.removeprefix("without ")
        )
        mentioned = {each.strip() for each in said.split(",")}
        hit = [keyword for keyword in use.keywords if keyword in mentioned]
        if hit:
            why = remark.partition(" (")[2].rstrip(")")
            concerned.append(
                f"no effect: {', '.join(hit)}" + (f" ({why})" if why else "") if why else f"without {', '.join(hit)}"
            )
    accepts_any = any(each.startswith("**") for each in entry.parameters)
    known = {*entry.parameter_names(), *entry.older}
    strange = [] if accepts_any or not entry.parameters else [each for each in use.keywords if each not in known]
    if strange:
        concerned.append(f"not a parameter in Ray 1.9 to 2.3: {', '.join(strange)}")
    old = [each for each in use.keywords if each in entry.older]
    if old:
        concerned.append(f"only in older releases of Ray: {', '.join(old)}")
    return Verdict(PARTLY, "; ".join(concerned)) if concerned else Verdict(WHOLE)


def _unknown(use: Use, facts: Facts, support: Support) -> Verdict:
    """A name that the table does not have: of a later release, ours, or a mistake."""
    head = use.name.partition(".")[0]
    definition = facts.definition(use.module, head)
    places = [(use.module, use.name)]
    if definition is not None and "." in use.name:
        places.append((definition[0], f"{definition[1]}.{use.name.partition('.')[2]}"))
    if any(name in support.beyond.get(module, ()) for module, name in places):
        return Verdict(WHOLE, "of a later release than 2.3, or of Aktis alone")
    if use.kind == "method" or ("." in use.name and definition is not None):
        if definition is not None and definition[2].kind in "vf":
            return Verdict(WHOLE)  # an attribute of a value: nothing is known about it
        return Verdict(PARTLY, "not in the table: Ray 1.9 to 2.3 does not document it")
    return Verdict(NOT, _absent(use, "Ray 1.9 to 2.3 has no such public name"))


def _absent(use: Use, why: str) -> str:
    reason = _names.reason_for(use.full)
    near = (
        nearest_names(use.module, use.name)
        if use.name and "." not in use.name
        else ()
        if use.name
        else nearest_modules(use.module)
    )
    parts = [reason or why, f"nearest: {', '.join(near)}" if near else ""]
    return "; ".join(filter(None, parts)) or "not there"


def _string(use: Use, support: Support) -> Verdict:
    import difflib

    names = support.strings.get("option" if use.kind == "option" else use.module, [])
    lowered = {each.lower() for each in names}
    if use.name in names or (use.module in ("search_alg", "scheduler") and use.name.lower() in lowered):
        return Verdict(WHOLE)
    if use.module == "trainable" and not (use.name.isupper() or use.name in _KNOWN_ALGORITHMS):
        return Verdict(WHOLE, "a name that the program registers itself, or none")
    names = [each for each in names if each[0] != "_"]
    near = difflib.get_close_matches(use.name, names, n=3, cutoff=0.6)
    what = {"trainable": "algorithm", "search_alg": "search algorithm", "scheduler": "scheduler"}.get(
        use.module, "option"
    )
    known = (
        f"; nearest: {', '.join(near)}" if near else "" if use.kind == "option" else f"; there are {', '.join(names)}"
    )
    return Verdict(NOT, f"no {what} of that name{known}")


_KNOWN_ALGORITHMS = frozenset(
    {"AlphaStar", "AlphaZero", "Dreamer", "SlateQ", "BanditLinUCB", "BanditLinTS", "Random", "LeelaChessZero"}
)


def _variable(use: Use, support: Support) -> Verdict:
    ours = _environment.HONOURED.get(use.name, ("",))[0]
    if ours or use.name in _environment.POINTLESS or use.name == "RAY_DISABLE_MEMORY_MONITOR":
        return Verdict(WHOLE, f"becomes {ours}" if ours else "")
    return Verdict(PARTLY, "this variable has no effect")


def _address(use: Use, support: Support) -> Verdict:
    return Verdict(
        PARTLY,
        "programs of Aktis run on Ray clusters (aktis-core[ray]), but in one process `import ray` is Aktis or Ray: "
        "write `import aktis as ray` in place of aktis.compat",
    )
