"""What to deploy: a config file, or an import path with arguments. Both become a schema."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aktis.serve.cli import CommandError

_CONFIGS = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Target:
    """The arguments of `serve run` and `serve deploy` that say what."""

    path: str
    arguments: list[str]
    runtime_env: Path | None = None
    runtime_env_json: str | None = None
    working_dir: str | None = None
    name: str | None = None
    route_prefix: str | None = None
    local: bool = False  # directories of this machine may be named

    @property
    def is_config(self) -> bool:
        """Whether it is a file."""
        return self.path.endswith(_CONFIGS) or Path(self.path).is_file()

    def environment(self) -> dict[str, Any]:
        """The runtime environment that the options describe."""
        if self.runtime_env is not None and self.runtime_env_json is not None:
            raise CommandError("--runtime-env and --runtime-env-json exclude each other: give one of them")
        result: Any = {}
        if self.runtime_env is not None:
            result = read_yaml(self.runtime_env)
        elif self.runtime_env_json is not None:
            try:
                result = json.loads(self.runtime_env_json)
            except ValueError as error:
                raise CommandError(f"--runtime-env-json is not JSON: {error}") from None
        if result is None:
            result = {}
        if not isinstance(result, dict):
            raise CommandError(f"a runtime environment is a mapping, not a {type(result).__name__}")
        if self.working_dir is not None:
            result["working_dir"] = self.working_dir
        return result

    def schema(self) -> Any:
        """The file, or the one application, checked. CommandError says what is wrong, and in which file."""
        from aktis.serve.schema import parse_config, validation_text

        data = self._config() if self.is_config else self._application()
        try:
            return parse_config(data, local=self.local)
        except ValueError as error:  # pydantic's is one
            text = validation_text(error) if hasattr(error, "errors") else str(error)  # type: ignore[arg-type]
            where = f"{self.path}: " if self.is_config else ""
            if not self.is_config:
                text = text.replace("applications.0.import_path: ", "").replace("applications.0.", "")
            raise CommandError("\n".join(where + line for line in text.splitlines())) from None

    def _config(self) -> Any:
        given = [
            option
            for option, value in (("--name", self.name), ("--route-prefix", self.route_prefix))
            if value is not None
        ]
        if given:
            raise CommandError(f"{given[0]} cannot be given with a config file: write it into {self.path}")
        if self.arguments:
            raise CommandError(
                f"arguments ({self.arguments[0]}) cannot be given with a config file: write 'args' into {self.path}"
            )
        data = read_yaml(Path(self.path))
        environment = self.environment()
        if environment and isinstance(data, dict) and not self.local:
            from aktis.serve._building import merged

            for entry in data.get("applications") or [data]:
                if isinstance(entry, dict):
                    entry["runtime_env"] = merged(environment, entry.get("runtime_env") or {})
        return data

    def _application(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"import_path": self.path}
        if self.name is not None:
            entry["name"] = self.name
        if self.route_prefix is not None:
            entry["route_prefix"] = self.route_prefix
        arguments = parse_arguments(self.arguments)
        if arguments:
            entry["args"] = arguments
        environment = {} if self.local else self.environment()
        if environment:
            entry["runtime_env"] = environment
        return {"applications": [entry]}


def parse_arguments(given: list[str]) -> dict[str, str]:
    """``key=value`` as a dict; values stay text."""
    result: dict[str, str] = {}
    for item in given:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise CommandError(f"an argument looks like key=value, not {item!r}")
        result[key] = value
    return result


def read_yaml(path: Path) -> Any:
    """A file's content. JSON is YAML, too."""
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CommandError(f"there is no file {str(path)!r}") from None
    except IsADirectoryError:
        raise CommandError(f"{str(path)!r} is a directory, not a file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
