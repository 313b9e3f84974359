"""What preparing an environment results in. Light, because every worker that has one unpickles it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PreparedEnv:
    """Everything that a zygote or worker of an environment is started with. Plain data, apply.apply reads it."""

    python_executable: str | None = None  # None is the node's own interpreter
    sys_path_prepend: tuple[str, ...] = ()
    env_vars: dict[str, str] = field(default_factory=dict)  # values may refer to outer variables as ${NAME}
    cwd: str | None = None
    preload: tuple[str, ...] = ()  # imported once, in the zygote
    setup_hook: str | dict[str, str] | None = None  # see apply.run_setup_hook
