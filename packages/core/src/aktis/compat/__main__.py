"""``python -m aktis.compat``: run a program for which ``ray`` is Aktis."""

from __future__ import annotations

import os
import runpy
import sys
from types import ModuleType

USAGE = """usage: python -m aktis.compat [--ray-version V] [--gym old|new|off] SCRIPT [args]
       python -m aktis.compat [...] -m MODULE [args]
       python -m aktis.compat [...] -c CODE [args]
       python -m aktis.compat check [--help] PATH ...

Runs a program written for Ray with Aktis in Ray's place, or lists what a program uses of Ray.

  --ray-version V   what ray.__version__ says (default: 2.3.1)
  --gym old|new|off what `import gym` gives where only Gymnasium is installed: the interface before Gym 0.26
                    (the default), the one since, or nothing
"""


def main(arguments: list[str] | None = None) -> None:
    """Entry point."""
    rest = list(sys.argv[1:] if arguments is None else arguments)
    options: dict[str, str] = {}
    while rest and rest[0] in ("--ray-version", "--gym", "-h", "--help"):
        flag = rest.pop(0)
        if flag in ("-h", "--help"):
            print(USAGE, end="")
            return
        if not rest:
            _fail(f"{flag} needs a value")
        options["version" if flag == "--ray-version" else "gym"] = rest.pop(0)
    if not rest:
        print(USAGE, end="", file=sys.stderr)
        raise SystemExit(2)
    if rest[0] == "check" and not os.path.isfile("check"):
        from aktis.compat.check import main as check

        check(rest, prog="python -m aktis.compat")
        return
    from aktis.compat import install_as_ray

    try:
        install_as_ray(**options)
    except ValueError as error:
        _fail(str(error))
    _run(rest)


def _fail(text: str) -> None:
    print(f"aktis.compat: {text}", file=sys.stderr)
    raise SystemExit(2)


def _run(rest: list[str]) -> None:
    first = rest[0]
    if first in ("-m", "-c"):
        if len(rest) < 2:
            _fail(f"{first} needs a value")
        what, sys.argv = rest[1], [first, *rest[2:]]
        if first == "-m":
            sys.path[0] = os.getcwd()  # as `python -m` has it
            runpy.run_module(what, run_name="__main__", alter_sys=True)
            return
        sys.path[0] = ""
        _execute(compile(what, "<string>", "exec"), None)
        return
    if first.startswith("-") and first != "-":
        _fail(f"unknown option {first}")
    sys.argv = rest
    if os.path.isdir(first) or first.endswith((".zip", ".pyz")):
        runpy.run_path(first, run_name="__main__")
        return
    try:
        with open(first, "rb") as file:
            text = file.read()
    except OSError as error:
        _fail(f"can't open {first!r}: {error.strerror}")
    sys.path[0] = os.path.dirname(os.path.abspath(first))
    _execute(compile(text, first, "exec"), first)


def _execute(code: object, path: str | None) -> None:
    """Run code as ``__main__``, in a module that lives until the interpreter ends, as that of a script does."""
    module = ModuleType("__main__")
    if path is not None:
        module.__file__ = os.path.abspath(path)
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    exec(code, module.__dict__)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
