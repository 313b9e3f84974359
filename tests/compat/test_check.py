"""``aktis compat check``: what it finds, and what it says about it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aktis.compat._facts import facts, support
from aktis.compat.check._command import Report, examine

PROGRAMS = Path(__file__).parent / "programs"


def look(tmp_path: Path, code: str, name: str = "program.py") -> dict[str, tuple[str, str]]:
    """Name -> (support, remark) of what a program uses."""
    (tmp_path / name).write_text(code)
    report = examine([tmp_path / name])
    assert not report.unreadable
    return {item.use.full: (item.verdict.support, item.verdict.remark) for item in report.items}


def places(report: Report) -> dict[str, list[str]]:
    return {item.use.full: item.places for item in report.items}


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import ray\nray.get(1)", "ray.get"),
        ("import ray as r\nr.util.queue.Queue()", "ray.util.queue.Queue"),
        ("import ray.tune\nray.tune.run(print)", "ray.tune.run"),
        ("from ray import tune\ntune.run(print)", "ray.tune.run"),
        ("from ray import tune as t\nt.schedulers.ASHAScheduler()", "ray.tune.schedulers.ASHAScheduler"),
        ("from ray.tune import run as go\ngo(print)", "ray.tune.run"),
        ("import ray.tune as rt\nx = rt.suggest.optuna", "ray.tune.suggest.optuna"),
        ("def f():\n    from ray.util import ActorPool\n    return ActorPool", "ray.util.ActorPool"),
        ("from ray.tune.suggest.hyperopt import HyperOptSearch", "ray.tune.suggest.hyperopt.HyperOptSearch"),
        ("from ray.data import *\nx = read_csv('a')", "ray.data"),
        ("import ray\nds = ray.data.range(3)\nds.map_batches(print)", "ray.data.dataset.Dataset.map_batches"),
        ("import ray\nray.data.range(3).map_batches(print).take(2)", "ray.data.dataset.Dataset.take"),
        (
            "from ray.rllib.algorithms.ppo import PPOConfig\nPPOConfig().training(lr=1).rollouts(num_rollout_workers=1)",
            "ray.rllib.algorithms.algorithm_config.AlgorithmConfig.rollouts",
        ),
        (
            "from ray import serve\n@serve.deployment(num_replicas=2)\nclass A: ...\nA.deploy()",
            "ray.serve.deployment.Deployment.deploy",
        ),
        ("import ray\n@ray.remote(num_cpus=1)\ndef f(): ...", "num_cpus"),
        ("import os\nos.environ['RAY_DEDUP_LOGS'] = '0'", "RAY_DEDUP_LOGS"),
        ("from ray import tune\ntune.run('PPO', search_alg='optuna')", "PPO"),
    ],
)
def test_what_is_there(tmp_path: Path, code: str, name: str) -> None:
    assert look(tmp_path, code)[name][0] == "whole"


@pytest.mark.parametrize(
    ("code", "name", "verdict", "part"),
    [
        ("import ray.workflow", "ray.workflow", "not", "aktis.dag"),
        ("from ray import workflow\nworkflow.step(1)", "ray.workflow.step", "not", "aktis.dag"),
        ("import ray\nray.gett(1)", "ray.gett", "not", "nearest: ray.get"),
        ("from ray.util import ActorPol", "ray.util.ActorPol", "not", "ray.util.ActorPool"),
        (
            "import ray\nray.init(include_dashboard=True)",
            "ray.init",
            "partly",
            "no effect: include_dashboard (there is no web page)",
        ),
        (
            "from ray import tune\ntune.run(print, queue_trials=True)",
            "ray.tune.run",
            "partly",
            "older releases of Ray: queue_trials",
        ),
        (
            "from ray import tune\ntune.run(print, odd=1)",
            "ray.tune.run",
            "partly",
            "not a parameter in Ray 1.9 to 2.3: odd",
        ),
        ("from ray import tune\ntune.run('QMIX')", "QMIX", "not", "PPO"),
        ("from ray import tune\ntune.TuneConfig(scheduler='ashaa')", "ashaa", "not", "nearest: asha"),
        ("import ray\n@ray.remote(num_cpu=1)\ndef f(): ...", "num_cpu", "not", "nearest: num_cpus"),
        (
            "import ray\nf = ray.remote(print)\nf.options(max_retrys=1).remote()",
            "max_retrys",
            "not",
            "nearest: max_retries",
        ),
        ("import ray\nds = ray.data.range(3)\nds.to_mars()", "ray.data.dataset.Dataset.to_mars", "not", ""),
        ("import os\nos.environ['RAY_raylet_odd'] = '0'", "RAY_raylet_odd", "partly", "no effect"),
        ("import ray\nray.init('ray://host:10001')", "ray://host:10001", "partly", "import aktis as ray"),
        ("import ray\nray._private.worker.global_worker", "ray._private.worker.global_worker", "not", "inside"),
    ],
)
def test_what_is_not(tmp_path: Path, code: str, name: str, verdict: str, part: str) -> None:
    found = look(tmp_path, code)
    assert found[name][0] == verdict, found
    assert part in found[name][1]


def test_names_of_later_releases_and_our_own(tmp_path: Path) -> None:
    found = look(tmp_path, "import ray\nray.data.range(3).materialize()\nray.explain(1)")
    assert found["ray.data.dataset.Dataset.materialize"] == ("whole", "of a later release than 2.3, or of Aktis alone")
    assert found["ray.explain"][0] == "whole"


def test_other_libraries_are_left_alone(tmp_path: Path) -> None:
    code = "import numpy as ray_np\nfrom rayon import x\nimport tune\ntune.run('QMIX')\nray_np.get()\nclass A:\n    ray = 1\n"
    assert look(tmp_path, code) == {}


def test_parameters_hide_modules(tmp_path: Path) -> None:
    code = "from ray.rllib import env\ndef f(env):\n    env.step(1)\ng = lambda env: env.close()\nenv.BaseEnv\n"
    assert set(look(tmp_path, code)) == {"ray.rllib.env", "ray.rllib.env.BaseEnv"}


def test_a_variable_that_becomes_something_else(tmp_path: Path) -> None:
    found = look(tmp_path, "import ray\nds = ray.data.range(3)\nds = open('x')\nds.to_mars()")
    assert "ray.data.dataset.Dataset.to_mars" not in found


def test_places_in_folders_and_notebooks(tmp_path: Path) -> None:
    (tmp_path / "package" / "inner").mkdir(parents=True)
    (tmp_path / "package" / "inner" / "a.py").write_text("\nimport ray.workflow\n")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "b.py").write_text("import ray.workflow\n")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "c.py").write_text("import ray.workflow\n")
    cells = [
        {"cell_type": "markdown", "source": ["import ray.workflow"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "!pip install ray\n", "import ray"]},
        {"cell_type": "code", "source": "%%bash\nimport ray.workflow"},
        {"cell_type": "code", "source": ["x = 1\n", "\n", "ray.workflow.run(x)\n", "x?"]},
    ]
    (tmp_path / "note.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    report = examine([tmp_path])
    assert report.files == 2
    assert places(report)["ray.workflow"] == [f"{tmp_path}/package/inner/a.py:2"]
    assert places(report)["ray.workflow.run"] == [f"{tmp_path}/note.ipynb:cell 3:3"]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "python2.py").write_text("print 'x'\n")
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "no.ipynb").write_text("[]")
    (tmp_path / "good.py").write_text("import ray\n")
    report = examine([tmp_path])
    assert report.files == 1
    assert sorted(Path(place.partition(":")[0]).name for place, _ in report.unreadable) == [
        "bytes.py",
        "no.ipynb",
        "python2.py",
    ]


def test_our_programs_are_fully_supported() -> None:
    report = examine([PROGRAMS])
    assert report.files >= 10
    assert report.count("not") == 0


def command(capsys: pytest.CaptureFixture[str], *arguments: str, rc: int = 0) -> str:
    """``python -m aktis.compat check``, in this process."""
    from aktis.compat.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(["check", *arguments])
    assert ended.value.code == rc
    said = capsys.readouterr()
    return said.out + said.err


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import ray\nimport ray.workflow\nray.init(storage='x')\n")
    text = command(capsys, str(bad), rc=1)
    assert "NOT there:" in text
    assert f"{bad}:2" in text
    assert text.splitlines()[-1] == "1 file, 3 uses of Ray: 1 whole, 1 partly, 1 not"
    assert "there as a WHOLE" in command(capsys, "--all", str(bad), rc=1)
    data = json.loads(command(capsys, str(bad), "--format", "json", rc=1))
    assert data["summary"] == {"whole": 1, "partly": 1, "not": 1}
    assert {"name": "ray.init", "support": "partly"}.items() <= data["uses"][1].items()
    good = tmp_path / "good.py"
    good.write_text("import ray\nray.init(storage='x')\n")
    command(capsys, str(good))
    command(capsys, str(good), "--strict", rc=1)
    assert "absent.py does not exist" in command(capsys, "absent.py", rc=2)


def test_it_is_a_command_of_aktis(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("import ray.workflow\n")
    words = [sys.executable, "-m", "aktis.cli", "compat", "check", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout.endswith("1 file, 1 use of Ray: 0 whole, 0 partly, 1 not\n")


def test_the_table_is_sound() -> None:
    table, known = facts(), support()
    assert table.versions == ["1.9.2", "1.13.0", "2.0.1", "2.2.0", "2.3.1"]
    for module, names in table.modules.items():
        for name in names:
            if name:
                entry = table.entry(module, name)
                assert entry is not None and entry.kind in "fcmpav=" and entry.releases, (module, name)
    for place in known.partly:
        module, _, name = place.partition(":")
        assert name in table.modules[module], place
    assert known.verdict("ray", "get") == "whole"
    assert known.verdict("ray", "init") == "partly"
    assert known.verdict("ray.workflow", "step") == "not"
