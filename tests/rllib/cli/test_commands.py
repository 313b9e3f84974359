"""The command from training to a video of what was learned."""

from __future__ import annotations

import os
import pickle
import re
import shelve
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

SMALL = '{"num_workers": 0, "train_batch_size": 200, "sgd_minibatch_size": 100, "num_sgd_iter": 1, "model": {"fcnet_hiddens": [8]}}'


def rllib(folder: Path, *args: str) -> str:
    environment = {**os.environ, "TUNE_RESULT_DIR": str(folder / "results"), "SDL_VIDEODRIVER": "dummy"}
    environment.pop("DISPLAY", None)
    command = [sys.executable, "-m", "aktis.rllib.cli", *args]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, check=False, env=environment, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The directory, what was printed, and the checkpoint."""
    folder = tmp_path_factory.mktemp("trained")
    shown = rllib(
        folder, "train", "--algo", "PPO", "--env", "CartPole-v1", "-c", SMALL, "-s", '{"training_iteration": 2}', "-n", "mine"
    )  # fmt: skip
    found = re.search(r"^checkpoint: (.*)$", shown, re.MULTILINE)
    assert found is not None, shown
    return folder, shown, found[1]


@pytest.mark.timeout(120)
def test_training_tells_what_it_does(trained: tuple[Path, str, str]) -> None:
    _, shown, checkpoint = trained
    assert re.search(r"finished: iteration 2, return [\d.]+, length [\d.]+, 400 steps", shown)
    assert f"try it: rllib evaluate {checkpoint}" in shown
    report = re.search(r"^report: (.*)$", shown, re.MULTILINE)
    assert report is not None
    page = Path(report[1]).read_text()
    assert "Learning curves" in page and "CartPole-v1" in page and "vf_loss" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


@pytest.mark.timeout(120)
def test_a_checkpoint_acts_and_is_filmed(trained: tuple[Path, str, str]) -> None:
    imageio = pytest.importorskip("imageio.v2")
    folder, _, checkpoint = trained
    shown = rllib(
        folder, "evaluate", checkpoint, "--algo", "PPO", "--episodes", "2", "--out", "episodes.pkl", "--save-info", "--render",
        "--seed", "3",
    )  # fmt: skip
    lengths = [int(length) for length in re.findall(r"^episode \d: return [\d.]+, (\d+) steps$", shown, re.MULTILINE)]
    assert len(lengths) == 2
    episodes = pickle.loads((folder / "episodes.pkl").read_bytes())
    assert [len(episode) for episode in episodes] == lengths
    observation, action, following, reward, terminated, truncated, info = episodes[0][-1]
    assert observation.shape == following.shape == (4,)
    assert (action in (0, 1), reward, terminated, truncated, info) == (True, 1.0, True, False, {})
    with imageio.get_reader(folder / "evaluation.mp4") as video:
        assert video.count_frames() == pytest.approx(sum(lengths) + 2, abs=1)
        assert video.get_data(0).shape == (400, 600, 3)


@pytest.mark.timeout(120)
def test_without_a_checkpoint_into_a_shelf(tmp_path: Path) -> None:
    rllib(
        tmp_path, "evaluate", "--algo", "PPO", "--env", "CartPole-v1", "-c", SMALL, "--steps", "60", "--out", "shelf",
        "--use-shelve", "--track-progress", "--video", "short.gif",
    )  # fmt: skip
    with shelve.open(str(tmp_path / "shelf")) as shelf:
        count = shelf["num_episodes"]
        assert sum(len(shelf[str(i)]) for i in range(count)) == 60
    assert (tmp_path / "short.gif").read_bytes().startswith(b"GIF8")
    assert not list(tmp_path.glob("__progress_*"))
