import random
import subprocess
import sys

import numpy as np
import pytest
from tests.tune.schedulers.controller import FakeController, drive

from aktis.tune.error import TuneError
from aktis.tune.schedulers import PB2
from aktis.tune.schedulers._bandit import TimeVaryingGP, _distances, _kernel, choose


def pb2(**options):
    defaults = {
        "time_attr": "training_iteration", "metric": "score", "mode": "max", "perturbation_interval": 2,
        "hyperparam_bounds": {"lr": [0.0, 2.0]}, "seed": 0,
    }  # fmt: skip
    return PB2(**{**defaults, **options})


def test_the_kernel_is_that_of_the_paper():
    x_ND, t_N, y_N = (
        np.array([[0.1, 0.2], [0.5, 0.9], [0.5, 0.9]]),
        np.array([1.0, 2.0, 5.0]),
        np.array([1.0, 2.0, 3.0]),
    )
    theta = np.log([0.5, 0.1, 0.3])
    gp = TimeVaryingGP(x_ND, t_N, y_N, theta)
    covariance_NN = _kernel(theta, _distances(x_ND, t_N, x_ND, t_N))
    for i in range(3):
        for j in range(3):
            distance = np.sum((x_ND[i] - x_ND[j]) ** 2)
            expected = np.exp(-distance / (2 * 0.5**2)) * (1 - 0.3) ** (abs(t_N[i] - t_N[j]) / 2)
            assert covariance_NN[i, j] == pytest.approx(expected)
    # The posterior, from its textbook formula.
    noisy_NN = covariance_NN + (0.1 + 1e-6) * np.eye(3)
    x_CD, t_C = np.array([[0.3, 0.3], [0.5, 0.9]]), np.array([6.0, 6.0])
    k_CN = _kernel(theta, _distances(x_CD, t_C, x_ND, t_N))
    mean_C, std_C = gp.predict(x_CD, t_C)
    y = (y_N - y_N.mean()) / y_N.std()
    assert mean_C == pytest.approx(k_CN @ np.linalg.solve(noisy_NN, y))
    assert std_C**2 == pytest.approx(1 - np.diag(k_CN @ np.linalg.solve(noisy_NN, k_CN.T)))


def test_fitting_raises_the_likelihood_and_forgets_what_is_old():
    rng = np.random.default_rng(0)
    x_ND, t_N = rng.random((60, 1)), np.repeat(np.arange(12.0), 5)
    y_N = np.where(t_N < 6, x_ND[:, 0], -x_ND[:, 0]) + 0.01 * rng.standard_normal(60)  # the optimum moves from 1 to 0
    gp = TimeVaryingGP(x_ND, t_N, y_N)
    default = np.log([0.5, 0.1, 0.1])
    distances = _distances(x_ND, t_N, x_ND, t_N)
    assert gp.negative_log_likelihood(gp.theta, distances)[0] < gp.negative_log_likelihood(default, distances)[0]
    for index in range(3):  # the gradient is that of the value
        step = 1e-5 * np.eye(3)[index]
        above, below = (gp.negative_log_likelihood(default + sign * step, distances)[0] for sign in (1, -1))
        gradient = gp.negative_log_likelihood(default, distances)[1][index]
        assert gradient == pytest.approx((above - below) / 2e-5, rel=1e-4)
    mean_C, _ = gp.predict(np.array([[0.0], [1.0]]), np.array([12.0, 12.0]))
    assert mean_C[0] > mean_C[1]
    (best,) = choose(gp, [], [], 12.0, 1, random.Random(0))
    assert best < 0.2


def test_a_batch_spreads():
    x_ND, t_N, y_N = np.array([[0.1], [0.9]]), np.zeros(2), np.array([0.0, 0.0])
    gp = TimeVaryingGP(x_ND, t_N, y_N, np.log([0.1, 0.01, 0.01]))
    chosen = []
    for _ in range(3):
        chosen.append(choose(gp, np.array(chosen), [], 1.0, 1, random.Random(0)))
    gaps = np.diff(np.sort(np.array(chosen)[:, 0]))
    assert np.all(gaps > 0.1)


def test_missing_values_are_drawn_between_the_bounds():
    scheduler = pb2(hyperparam_bounds={"lr": [0.5, 2.0], "n": [1, 5]})
    controller = FakeController(scheduler)
    trials = [controller.add(str(i)) for i in range(40)]
    assert all(0.5 < trial.config["lr"] < 2.0 for trial in trials)
    assert {trial.config["n"] for trial in trials} == {1, 2, 3, 4, 5}
    given = controller.add("given", {"lr": 1, "n": 2.5})
    assert given.config == {"lr": 1, "n": 2.5}


def test_integers_stay_integers():
    scheduler = pb2(hyperparam_bounds={"n": [1.0, 50.0]})
    controller = FakeController(scheduler, cpus=4)
    for index in range(4):
        controller.add(str(index), {"n": 10 * (index + 1)})
    controller.fill()
    for at in (2, 4, 6):
        for index in range(4) if at == 2 else range(3, -1, -1):
            controller.report(str(index), training_iteration=at, score=at * 10 + index)
        controller.fill()
    exploits = [entry for entry in controller.asked if entry[0] == "exploit"]
    assert exploits and all(type(entry[3]["n"]) is int and 1 <= entry[3]["n"] <= 50 for entry in exploits)


@pytest.mark.parametrize("synch", [False, True])
def test_it_finds_hyperparameters_that_improve_most(synch):
    """The score grows by 1 - (lr - 1.5)^2 per step: PB2 is to find lr = 1.5, from starts between 0 and 0.5."""
    scheduler = pb2(perturbation_interval=5, synch=synch)
    controller = FakeController(scheduler, cpus=4)

    def result_of(trial, at):
        return {"score": trial.last_result.get("score", 0.0) + 1 - (trial.config["lr"] - 1.5) ** 2}

    def over(trial, result):
        return result["training_iteration"] >= 100

    configs = {str(i): {"lr": 0.1 * (i + 1)} for i in range(4)}
    drive(controller, configs, result_of, lambda trial, at: 1 + int(trial.trial_id) / 10, over)
    best = max(trial.last_result["score"] for trial in controller.trials.values())
    assert best > 60  # with the best start, lr = 0.4, it would be -21
    exploits = [entry[3]["lr"] for entry in controller.asked if entry[0] == "exploit"]
    assert np.median(np.abs(np.array(exploits[-5:]) - 1.5)) < 0.2
    assert not scheduler._since and not scheduler._pending


def test_scores_that_are_no_numbers_are_no_observations():
    controller = FakeController(pb2(), cpus=2)
    for index in range(2):
        controller.add(str(index), {"lr": 1.0})
    controller.fill()
    for at in (2, 4, 6):
        controller.report("1", training_iteration=at, score=float(at))
        controller.report("0", training_iteration=at, score=float("nan"))
        controller.fill()
    assert [observation[3] for observation in controller.scheduler._observations] == [1.0, 1.0]


def test_arguments_are_checked():
    with pytest.raises(TuneError, match="PB2 needs hyperparam_bounds"):
        pb2(hyperparam_bounds=None)
    with pytest.raises(ValueError, match=r"hyperparam_bounds\['a'\] must be \[lowest, highest\], not \[1\]"):
        pb2(hyperparam_bounds={"a": [1]})
    with pytest.raises(ValueError, match="the lower bound first"):
        pb2(hyperparam_bounds={"a": [2, 1]})


def test_without_scipy():
    program = (
        "import sys\n"
        "class Gone:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'scipy': raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        "from aktis.tune.schedulers import PB2\n"
        "try: PB2(hyperparam_bounds={'a': [0, 1]})\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "aktis-tune[pb2]" in done.stdout, done.stderr
