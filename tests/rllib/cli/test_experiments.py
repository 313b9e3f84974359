"""What the command makes of options and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aktis.rllib.algorithms.ppo import PPOConfig
from aktis.rllib.cli import CommandError, main
from aktis.rllib.cli._examples import examples, path_of, text_of
from aktis.rllib.cli._experiments import from_options, load, parse_json
from aktis.rllib.cli._lines import line_of
from aktis.rllib.cli._prepared import fit
from aktis.rllib.cli._train import Run, _with_flags

NOTHING: dict[str, Any] = {
    "num_samples": 1, "local_dir": None, "restore": None, "resources_per_trial": None, "checkpoint_freq": 0,
    "checkpoint_at_end": True,
    "keep_checkpoints_num": None, "checkpoint_score_attr": "training_iteration", "upload_dir": None,
}  # fmt: skip


def code_of(*args: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(args))
    return int(caught.value.code or 0)


def test_options_become_an_experiment() -> None:
    given = {**NOTHING, "checkpoint_score_attr": "min-loss", "keep_checkpoints_num": 2, "local_dir": Path("/results")}
    made = from_options("PPO", "CartPole-v1", '{"lr": 0.1}', '{"training_iteration": 3}', "mine", **given)
    spec = made["mine"]
    assert spec["run"] == "PPO"
    assert spec["config"] == {"lr": 0.1, "env": "CartPole-v1"}
    assert spec["stop"] == {"training_iteration": 3}
    assert spec["checkpoint_config"]["checkpoint_score_attribute"] == "loss"
    assert spec["checkpoint_config"]["checkpoint_score_order"] == "min"
    assert spec["local_dir"] == "/results"


@pytest.mark.parametrize("text", ["{lr: 1", "[1]", "nothing"])
def test_what_is_no_dict_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="--config"):
        parse_json(text, "--config")


def test_settings_can_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("lr: 0.5\n")
    assert parse_json(str(tmp_path / "config.yaml"), "--config") == {"lr": 0.5}


def test_a_yaml_file(tmp_path: Path) -> None:
    path = tmp_path / "pendulum-ppo.yaml"
    path.write_text(
        "pendulum-ppo:\n  env: Pendulum-v1\n  run: PPO\n  stop:\n    episode_reward_mean: -500\n  pass_criteria:\n    x: 1\n"
        "  config:\n    framework: tf\n    lr: {grid_search: [0.1, 0.2]}\n"
    )
    spec = load(str(path), None, 5, True)["pendulum-ppo"]
    assert spec["config"]["env"] == "Pendulum-v1"
    assert "pass_criteria" not in spec and "env" not in spec
    assert spec["checkpoint_config"]["checkpoint_frequency"] == 5
    assert load(path.as_uri(), '{"training_iteration": 1}', 0, False)["pendulum-ppo"]["stop"] == {
        "training_iteration": 1
    }


def test_a_python_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from aktis.rllib.algorithms.ppo import PPOConfig\n"
        "config = PPOConfig().environment('CartPole-v1')\nstop = {'training_iteration': 2}\n"
    )
    spec = load(str(path), None, 0, True)["mine"]
    assert spec["run"] == "PPO"
    assert spec["stop"] == {"training_iteration": 2}
    assert load(str(path), '{"training_iteration": 9}', 0, True)["mine"]["stop"] == {"training_iteration": 9}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "x", "ends in .yaml"),
        ("a.yaml", "- 1\n", "experiments"),
        ("a.yaml", "{", "not YAML"),
        ("a.yaml", "x: {config: {}}\n", "no `run`"),
        ("a.py", "x = 1\n", "must define `config`"),
    ],
)
def test_files_that_cannot_be_run(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(CommandError, match=words):
        load(str(tmp_path / name), None, 0, True)
    with pytest.raises(CommandError, match="no file"):
        load(str(tmp_path / "absent.yaml"), None, 0, True)


def test_flags_go_into_configurations() -> None:
    assert _with_flags({"lr": 1}, Run(framework="tf2", trace=True)) == {
        "lr": 1,
        "framework": "tf2",
        "eager_tracing": True,
    }
    assert _with_flags({}, Run()) == {"framework": "torch"}


def test_workers_that_nobody_asked_for_fit_the_machine(caplog: pytest.LogCaptureFixture) -> None:
    spec: dict[str, Any] = {"run": "PPO", "config": {"env": "CartPole-v1"}}
    fit(spec, 3)
    assert "num_rollout_workers" not in spec["config"] and not caplog.records
    fit(spec, 2)
    assert spec["config"] == {"env": "CartPole-v1", "num_rollout_workers": 1}
    assert "num_rollout_workers=1 instead of 2" in caplog.text
    config: dict[str, Any] = {"run": "PPO", "config": PPOConfig().environment("CartPole-v1")}
    fit(config, 1)
    assert config["config"].num_rollout_workers == 0
    reserved = {**spec, "resources_per_trial": {"cpu": 1}, "config": {"num_workers": 5}}
    fit(reserved, 1)
    assert reserved["config"] == {"num_workers": 5}


def test_workers_that_were_asked_for_stay() -> None:
    with pytest.raises(CommandError, match="--num-cpus 5"):
        fit({"run": "PPO", "config": {"env": "CartPole-v1", "num_workers": 4}}, 2)
    with pytest.raises(CommandError, match="1 rollout worker"):
        fit({"run": "PPO", "config": PPOConfig().rollouts(num_rollout_workers=1)}, 1)


def test_a_result_in_a_line() -> None:
    line = line_of(
        {
            "training_iteration": 3,
            "episode_reward_mean": 21.5,
            "timesteps_total": 4000,
            "episode_len_mean": float("nan"),
        }
    )
    assert line == "iteration 3, return 21.5, 4,000 steps"


def test_examples_are_listed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cartpole-ppo" in examples()
    assert code_of("example", "list", "--filter", "cartpole-p") == 0
    shown = capsys.readouterr().out
    assert "cartpole-ppo" in shown and "pendulum" not in shown
    assert code_of("example", "get", "cartpole-ppo") == 0
    assert capsys.readouterr().out == path_of("cartpole-ppo").read_text() == text_of("cartpole-ppo")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["example", "run", "cartpol-ppo"], "did you mean cartpole-ppo"),
        (["example", "list", "-f", "no such"], "no example"),
        (["train"], "--algo"),
        (["train", "--algo", "PPO", "--env", "CartPol-v1"], "did you mean CartPole-v1"),
        (["train", "--algo", "PPO", "--env", "no.such.module.Env"], "no module"),
        (["train", "--algo", "PPO", "--env", "CartPole-v1", "--config", "{"], "not JSON"),
        (["train", "--algo", "PPO", "--env", "CartPole-v1", "--config", '{"lr": "fast"}'], "lr must be a number"),
        (["train", "file", "absent.yaml"], "no file"),
        (["evaluate", "absent"], "no checkpoint"),
        (["evaluate", "--algo", "PPO"], "--env"),
        (["evaluate", "--algo", "PPO", "--env", "CartPole-v1", "--steps", "0"], "never end"),
        (["evaluate", "--algo", "PPO", "--env", "CartPole-v1", "--use-shelve"], "needs --out"),
        (["report", "/no/such/place"], "no results"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*args) in (1, 2)
    said = capsys.readouterr().err
    assert words in said
    assert said.startswith("rllib: ") and "Traceback" not in said


@pytest.mark.torch
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["train", "--config", '{"num_workers": 2}', "--num-cpus", "2"], "--num-cpus 3"),
        (["evaluate", "--video", "a.avi"], ".mp4 or .gif"),
    ],
)
def test_what_is_wrong_with_a_policy_is_said_in_a_line(
    args: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    test_what_is_wrong_is_said_in_a_line([*args, "--algo", "PPO", "--env", "CartPole-v1"], words, capsys)
