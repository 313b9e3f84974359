"""Import paths, builders and what is said when they lead nowhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from aktis import serve
from aktis.serve._importing import ImportPathError, call_builder, import_target, make_application, user_traceback


@serve.deployment
class Model:
    pass


def build(args: dict[str, str]) -> Any:
    return Model.bind(args)


class Settings(BaseModel):
    size: int = 1


def typed(settings: Settings) -> Any:
    return Model.bind(settings.size)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a module that can be imported; it is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        names.append(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_both_spellings_lead_there(module: Any) -> None:
    module("importing_a", "class Space:\n    thing = 3\n")
    assert import_target("importing_a:Space.thing") == 3
    assert import_target("importing_a.Space").thing == 3


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("no_such_module_at_all:app", "there is no module 'no_such_module_at_all'"),
        ("importing_b:ap", "has no 'ap'; did you mean 'app'?"),
        ("nothing", "it looks like 'module:name'"),
    ],
)
def test_paths_that_lead_nowhere(module: Any, path: str, text: str) -> None:
    module("importing_b", "app = 1\n")
    with pytest.raises(ImportPathError) as caught:
        import_target(path)
    assert text in str(caught.value)


def test_errors_of_the_module_come_out_from_where_the_users_code_begins(module: Any) -> None:
    module("importing_c", "def fail():\n    import not_installed_here\n\nfail()\n")
    with pytest.raises(ModuleNotFoundError) as caught:
        import_target("importing_c:app")
    text = user_traceback(caught.value)
    assert text.startswith("Traceback (most recent call last):\n  File")
    assert "importing_c.py" in text.splitlines()[1]
    assert "aktis" not in text.replace(str(Path.cwd()), "")


def test_builders() -> None:
    app = Model.bind()
    assert make_application(app, "m:app", {}) is app
    assert make_application(build, "m:build", {"a": "1"}).get_args() == ({"a": "1"},)
    assert make_application(build, "m:build", {}).get_args() == ({},)
    assert make_application(typed, "m:typed", {"size": "7"}).get_args() == (7,)
    assert make_application(lambda: app, "m:none", {}) is app


@pytest.mark.parametrize(
    ("target", "args", "text"),
    [
        (Model.bind(), {"a": "1"}, "is an application already, so it takes no arguments, and there are a"),
        (Model, {}, "is a deployment that is not bound: write `app = Model.bind(...)`"),
        (3, {}, "must be an application (what .bind() gives) or a function that builds one, and it is 3"),
        (lambda args: 3, {}, "must return an application (what .bind() gives), and it returned 3"),
        (lambda a, b: None, {}, "takes one argument"),
        (typed, {"size": "big"}, "do not fit Settings"),
    ],
)
def test_what_is_no_application(target: Any, args: dict[str, str], text: str) -> None:
    with pytest.raises(ImportPathError) as caught:
        make_application(target, "m:x", args)
    assert text in str(caught.value)


def test_arguments_for_a_builder_without_parameters() -> None:
    with pytest.raises(ImportPathError, match="takes one argument"):
        call_builder(lambda: None, "m:x", {"a": "1"})
