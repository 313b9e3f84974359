"""Which paths .gitignore rules leave out: git's own matching rules, without needing git or a repository."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_POSIX_CLASSES = {
    "alnum": r"a-zA-Z0-9",
    "alpha": r"a-zA-Z",
    "blank": r" \t",
    "digit": r"0-9",
    "lower": r"a-z",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\s",
    "upper": r"A-Z",
    "xdigit": r"0-9a-fA-F",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a .gitignore file."""

    pattern: re.Pattern[str]  # matched against the path relative to the file's directory
    negated: bool  # a line that begins with "!"
    directories_only: bool  # a line that ends with "/"


def parse(text: str) -> list[Rule]:
    """The rules of a .gitignore file, in its order: the last one that matches decides."""
    rules = [parse_line(line) for line in text.splitlines()]
    return [rule for rule in rules if rule is not None]


def parse_line(line: str) -> Rule | None:
    """None for a comment, a blank line, and a pattern that can match nothing."""
    line = _strip_trailing_spaces(line)
    if not line or line.startswith("#"):
        return None
    negated = line.startswith("!")
    if negated:
        line = line[1:]
    directories_only = line.endswith("/")
    if directories_only:
        line = line[:-1]
    if not line:
        return None
    anchored = "/" in line
    expression = _translate(line[1:] if line.startswith("/") else line)
    if expression is None:
        return None
    if not anchored:
        expression = "(?:.*/)?" + expression
    return Rule(re.compile(expression, re.DOTALL), negated, directories_only)


def _strip_trailing_spaces(line: str) -> str:
    """Spaces at the end do not count, unless a backslash stands before them."""
    stripped = line.rstrip(" ")
    if stripped != line and (len(stripped) - len(stripped.rstrip("\\"))) % 2:
        stripped += " "
    return stripped


def _translate(pattern: str) -> str | None:
    """A regular expression for a pattern without its leading and trailing slash."""
    segments = _split(pattern)
    parts: list[str] = []
    last = len(segments) - 1
    for number, segment in enumerate(segments):
        if segment == "**":
            if number == last:
                parts.append(".+" if number else "[^/]+")
            elif not parts or parts[-1] != "(?:.*/)?":
                parts.append("(?:.*/)?")
            continue
        translated = _translate_segment(segment)
        if translated is None:
            return None
        parts.append(translated + ("/" if number != last else ""))
    return "".join(parts)


def _split(pattern: str) -> list[str]:
    """The pattern between its slashes; one in brackets or behind a backslash does not separate."""
    segments: list[str] = []
    begin = position = 0
    while position < len(pattern):
        if pattern[position] == "/":
            segments.append(pattern[begin:position])
            begin = position = position + 1
        elif pattern[position] == "\\":
            position += 2
        else:
            found = _bracket(pattern, position + 1) if pattern[position] == "[" else None
            position = found[1] if found else position + 1
    segments.append(pattern[begin:])
    return segments


def _translate_segment(segment: str) -> str | None:
    out: list[str] = []
    position = 0
    while position < len(segment):
        char = segment[position]
        position += 1
        if char == "*":
            while segment[position : position + 1] == "*":
                position += 1
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            found = _bracket(segment, position)
            if found is None:
                return None  # an unclosed bracket matches nothing, as in git
            expression, position = found
            out.append(expression)
        elif char == "\\":
            if position == len(segment):
                return None
            out.append(re.escape(segment[position]))
            position += 1
        else:
            out.append(re.escape(char))
    return "".join(out)


def _bracket(segment: str, position: int) -> tuple[str, int] | None:
    """The character class that begins after "[", and where it ends."""
    inverted = segment[position : position + 1] in ("!", "^")
    if inverted:
        position += 1
    items: list[str] = []
    first = True
    while position < len(segment):
        char = segment[position]
        if char == "]" and not first:
            body = "".join(items)
            # (?!/) because a class never matches the separator
            return (f"(?!/)[^{body}]" if inverted else f"(?!/)[{body}]" if body else "(?!)"), position + 1
        first = False
        named = re.compile(r"\[:(\w+):\]").match(segment, position)
        if named:
            if named.group(1) not in _POSIX_CLASSES:
                return None
            items.append(_POSIX_CLASSES[named.group(1)])
            position = named.end()
            continue
        low, position = _bracket_char(segment, position)
        if low is None:
            return None
        if segment[position : position + 1] == "-" and segment[position + 1 : position + 2] not in ("", "]"):
            high, position = _bracket_char(segment, position + 1)
            if high is None:
                return None
            items.append(re.escape(low))  # even of an empty range
            if low <= high:
                items.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            items.append(re.escape(low))
    return None


def _bracket_char(segment: str, position: int) -> tuple[str | None, int]:
    char = segment[position]
    if char == "\\":
        if position + 1 >= len(segment):
            return None, position
        return segment[position + 1], position + 2
    return char, position + 1


@dataclass(slots=True)
class IgnoreRules:
    """The rules that hold in a directory: its own, and those of the directories above it."""

    levels: list[tuple[str, list[Rule]]] = field(
        default_factory=list
    )  # (directory with "/" or "", rules), outermost first

    def below(self, directory: str, rules: list[Rule]) -> IgnoreRules:
        """The rules inside ``directory`` (relative to the root, "" for the root), which adds its own."""
        if not rules:
            return self
        return IgnoreRules([*self.levels, (f"{directory}/" if directory else "", rules)])

    def ignores(self, path: str, is_directory: bool) -> bool:
        """Whether the path (relative to the root) is left out. Asked top down: nothing inside an ignored directory."""
        for base, rules in reversed(self.levels):
            relative = path[len(base) :]
            for rule in reversed(rules):
                if rule.directories_only and not is_directory:
                    continue
                if rule.pattern.fullmatch(relative):
                    return not rule.negated
        return False
