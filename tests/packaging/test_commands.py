"""The command lines as one: `aktis` has those of the libraries, and all of them look and fail alike."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from aktis.cli import Command, CommandError, main
from aktis.cli._libraries import OWN, libraries

ROOT = Path(__file__).resolve().parents[2]


def run(command: Command, *args: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        command(list(args))
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def of_library(name: str) -> Command:
    found = importlib.import_module(f"aktis.{name}.cli").main
    assert isinstance(found, Command)
    return found


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("args", [(), ("--help",), ("no-such-command",), ("status", "--no-such-option")])
def test_aktis_and_a_librarys_name_is_the_librarys_command(
    name: str, args: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(of_library(name), *args, capsys=capsys)
    under = run(main, name, *args, capsys=capsys)
    assert out or err
    assert under == (code, out.replace(f"Usage: {name}", f"Usage: aktis {name}"), under[2])
    assert under[2] == re.sub(
        rf"^{name}: |(?<=see: ){name}", lambda found: found[0].replace(name, f"aktis {name}"), err
    )


@pytest.mark.parametrize("name", ["aktis", *OWN])
def test_wrong_usage_is_one_line_of_the_same_form(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = main if name == "aktis" else of_library(name)
    code, out, err = run(command, "no-such-command", capsys=capsys)
    assert (code, out, err) == (2, "", f"{name}: No such command 'no-such-command'. (see: {name} --help)\n")
    code, out, err = run(command, capsys=capsys)
    assert (code, err) == (2, "")
    assert out.startswith(f"Usage: {name} [OPTIONS] COMMAND [ARGS]...\n")


def test_help_lists_the_libraries_and_loads_none_of_what_they_need() -> None:
    code = (
        "import sys, json\nfrom aktis.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    text, _, modules = done.stdout.rstrip().rpartition("\n")
    assert [line.split()[0] for line in text.rpartition("Libraries")[2].splitlines()[1:] if line[2] != " "] == [*OWN]
    heavy = {
        "numpy",
        "pandas",
        "pyarrow",
        "fastapi",
        "gymnasium",
        "rich.live",
        "uvicorn",
        "yaml",
        "aktis.compat._facts",
    }
    assert heavy & set(json.loads(modules)) == set()


def test_a_missing_library_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "aktis.serve", None)
    monkeypatch.setattr("aktis.cli._libraries.entry_points", lambda group: ())
    assert run(main, "serve", "status", capsys=capsys) == (2, "", "aktis: not installed: pip install aktis-serve\n")
    assert "serve  (not installed: pip install aktis-serve)" in run(main, "--help", capsys=capsys)[1]


def test_a_command_of_another_distribution_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "greeting.py").write_text(
        "from aktis.cli import Command\n"
        "main = Command('greet', 'Say hello. Nothing else.', 'greeting')\n"
        "app = main.group()\n"
        "@app.command()\ndef hello(): print('hello')\n"
        "@app.command()\ndef bye(): print('bye')\n"
    )
    info = tmp_path / "greeting-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: greeting\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[aktis.commands]\ngreet = greeting:main\nbroken = greeting:missing\nother = greeting:app\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert run(main, "greet", "hello", capsys=capsys) == (0, "hello\n", "")
    help = run(main, "--help", capsys=capsys)[1]
    assert re.search(r"^  greet +Say hello\.$", help, re.MULTILINE)
    assert "(greeting:missing cannot be loaded: AttributeError" in help
    code, _, err = run(main, "other", capsys=capsys)
    assert (code, err) == (2, "aktis: the entry point greeting:app is a Typer, and no aktis.cli.Command\n")


def test_a_library_that_is_installed_is_declared_and_known_and_is_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("serve", "aktis.serve.cli:main", "aktis.commands")
    monkeypatch.setattr("aktis.cli._libraries.entry_points", lambda group: (point, point))
    assert list(libraries()) == sorted(OWN)
    assert libraries()["serve"]() is of_library("serve")


def test_every_command_is_declared_where_aktis_looks_for_it() -> None:
    for path in ROOT.glob("packages/*/pyproject.toml"):
        text, name = path.read_text(), path.parent.name
        command = f'{name} = "aktis.{name}.cli:main"'
        section = text.partition('[project.entry-points."aktis.commands"]')[2].partition("\n[")[0]
        assert section.strip() == (command if name in OWN else ""), path
        assert (command in text.partition("[project.scripts]")[2].partition("\n[")[0]) == (name in OWN), path


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (CommandError("no"), 2, "no"),
        (CommandError("no", 3), 3, "no"),
        (FileNotFoundError(2, "No such file or directory", "x.yaml"), 2, "x.yaml: No such file or directory"),
        (ImportError("needs it: pip install x"), 2, "needs it: pip install x"),
        (KeyboardInterrupt(), 130, None),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_a_line_and_an_exit_code(
    error: BaseException,
    code: int,
    text: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = Command("name", "Help.", __name__)

    def app(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(sys.modules[__name__], "app", app, raising=False)
    assert run(command, capsys=capsys) == (code, "", f"name: {text}\n" if text else "")


def test_an_error_that_nobody_meant_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "app", lambda *_, **__: 1 / 0, raising=False)
    with pytest.raises(ZeroDivisionError):
        Command("name", "Help.", __name__)([])


def test_warnings_of_ours_are_a_line_and_those_of_users_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import aktis

    def app(*_: object, **__: object) -> None:
        warnings.warn_explicit("short of memory", UserWarning, f"{aktis.__path__[0]}/tune/x.py", 3)
        warnings.warn_explicit("theirs", UserWarning, "/srv/app.py", 7)

    monkeypatch.setattr(sys.modules[__name__], "app", app, raising=False)
    monkeypatch.setattr(
        warnings, "showwarning", lambda text, kind, file, line, *_: print(f"{file}:{line}: {text}", file=sys.stderr)
    )
    _, _, err = run(Command("name", "Help.", __name__), capsys=capsys)
    assert err == "name: warning: short of memory\n/srv/app.py:7: theirs\n"
