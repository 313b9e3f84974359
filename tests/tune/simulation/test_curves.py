import json
import math
import random

import numpy as np
import pytest

from aktis.tune.simulation.curves import LearningCurves, RecordedCurves


def draw(space, rng):
    return {name: domain.sample(None, random_state=rng) for name, domain in space.items()}


def test_curves_are_pure():
    config = {"lr": 0.01, "batch_size": 16}
    forward = [LearningCurves()(config, 7).result(step) for step in range(1, 50)]
    curve = LearningCurves()(config, 7)
    assert [curve.result(step) for step in range(49, 0, -1)] == forward[::-1]
    assert [LearningCurves()(config, 8).result(step) for step in range(1, 50)] != forward
    assert LearningCurves()({**config, "lr": 0.010001}, 7).result(5)["loss"] != pytest.approx(
        forward[4]["loss"], abs=1e-6
    )
    # Written down: the same in every process and on every machine.
    assert curve.result(3)["loss"] == pytest.approx(0.5134226728137222, rel=1e-12)


@pytest.mark.parametrize("shape", ["power", "exponential"])
def test_without_noise_the_loss_falls_to_the_asymptote(shape):
    curve = LearningCurves(noise=0, shape=shape)({"lr": 0.01}, 0)
    losses = [curve.result(step)["loss"] for step in range(1, 1000)]
    assert losses == sorted(losses, reverse=True) and losses[0] < 1
    assert losses[-1] == pytest.approx(curve.asymptote, abs=0.01)
    assert curve.result(5)["accuracy"] == 1 - losses[4]


def test_curves_cross():
    fast, good = (LearningCurves(noise=0)({"lr": lr}, 0) for lr in (0.1, 0.003))
    assert fast.result(1)["loss"] < good.result(1)["loss"]
    assert fast.result(100)["loss"] > good.result(100)["loss"]


def test_noise_is_normal_and_shrinks():
    clean = LearningCurves(noise=0)({"lr": 0.01}, 0)

    def deviations(step, **config):
        curves = (LearningCurves(noise=0.1)({"lr": 0.01, **config}, seed) for seed in range(4000))
        return np.array([curve.result(step)["loss"] for curve in curves]) - clean.result(step)["loss"]

    early, late, small = deviations(1), deviations(200), deviations(1, batch_size=8)
    assert abs(early.mean()) < 4 * early.std() / math.sqrt(4000)
    falling = (clean.result(1)["loss"] - clean.asymptote) / (1 - clean.asymptote)
    assert early.std() == pytest.approx(0.1 * (0.2 + falling), rel=0.05)
    assert late.std() < 0.4 * early.std() and small.std() == pytest.approx(2 * early.std(), rel=0.05)
    assert np.mean(np.abs(early) < early.std()) == pytest.approx(0.683, abs=0.03)
    steps = np.array([LearningCurves(noise=0.1)({"lr": 0.01}, 1).result(step)["loss"] for step in range(300, 3300)])
    assert abs(np.corrcoef(steps[1:], steps[:-1])[0, 1]) < 0.1


def test_high_rates_diverge():
    curve = LearningCurves()({"lr": 0.9}, 3)
    assert not math.isnan(curve.result(1)["loss"]) and math.isnan(curve.result(100)["loss"])


def test_steps_last_longer_for_wide_networks():
    narrow, wide = (LearningCurves()({"width": width}, 0) for width in (16, 512))
    assert np.mean([wide.seconds(step) for step in range(100)]) > np.mean([narrow.seconds(step) for step in range(100)])
    assert np.std([narrow.seconds(step) for step in range(100)]) / narrow.seconds(1) == pytest.approx(0.05, abs=0.02)


def test_the_space_goes_with_the_curves():
    rng = random.Random(0)
    curves = LearningCurves(steps=3)
    for _ in range(200):
        curve = curves(draw(curves.space(), rng), 0)
        assert 0.05 < curve.asymptote < 1 and curve.steps == 3


def test_what_has_no_curve():
    with pytest.raises(ValueError, match=r"not for lr=0, dropout=0.2, width=64, batch_size=32"):
        LearningCurves()({"lr": 0}, 0)
    with pytest.raises(ValueError, match="noise must not be negative, got -1"):
        LearningCurves(noise=-1)
    with pytest.raises(ValueError, match="not 'round'"):
        LearningCurves(shape="round")


TABLE = [
    {"config": {"a": 1, "b": {"c": "x"}}, "results": [{"loss": 1.0}, {"loss": 0.5}], "seconds": [2, 3]},
    {"config": {"a": 2, "b": {"c": "x"}}, "results": [{"loss": 4.0}]},
    {"config": {"a": 2, "b": {"c": "x"}}, "results": [{"loss": 5.0}], "seconds": 7},
]


def check_table(curves):
    curve = curves({"b": {"c": "x"}, "a": 1}, 0)
    assert [curve.result(1)["loss"], curve.result(2)["loss"]] == [1.0, 0.5]
    assert [curve.seconds(1), curve.seconds(2), curve.steps] == [2, 3, 2]
    with pytest.raises(IndexError, match="steps 1 to 2 are recorded, not step 3"):
        curve.result(3)
    with pytest.raises(IndexError, match="not step 0"):
        curve.seconds(0)
    assert [curves({"a": 2, "b": {"c": "x"}}, seed).result(1)["loss"] for seed in (0, 1, 2)] == [4.0, 5.0, 4.0]
    assert curves({"curve": 2}, 0).seconds(1) == 7
    with pytest.raises(KeyError, match="no recorded trial had the configuration"):
        curves({"a": 3}, 0)
    assert set(curves.space()["curve"].categories) == {0, 1, 2}


def test_recorded_curves(tmp_path):
    curves = RecordedCurves(TABLE)
    check_table(curves)
    curves({"curve": 0}).result(1)["loss"] = 9  # a copy
    check_table(curves)
    (tmp_path / "table.json").write_text(json.dumps(TABLE))
    check_table(RecordedCurves.from_json(tmp_path / "table.json"))
    (tmp_path / "table.json").write_text("{}")
    with pytest.raises(ValueError, match="must have a JSON list of trials, not dict"):
        RecordedCurves.from_json(tmp_path / "table.json")


def test_recorded_curves_from_csv(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(
        "trial_id,training_iteration,loss,time_this_iter_s,config/a,config/name\n"
        "t0,1,1.0,2.5,1,x\nt1,1,nan,1.5,2,\nt0,2,0.5,3.5,1,x\n"
    )
    curves = RecordedCurves.from_csv(path)
    assert curves.configs == [{"a": 1, "name": "x"}, {"a": 2}]
    curve = curves({"a": 1, "name": "x"}, 0)
    assert curve.result(2) == {"trial_id": "t0", "training_iteration": 2, "loss": 0.5, "time_this_iter_s": 3.5}
    assert [curve.seconds(1), curve.seconds(2)] == [2.5, 3.5]
    assert math.isnan(curves({"a": 2}, 0).result(1)["loss"])


def test_tables_are_checked():
    with pytest.raises(
        ValueError, match=r"entry 0 of the table must have a config and results, but has only \['config'\]"
    ):
        RecordedCurves([{"config": {}}])
    with pytest.raises(ValueError, match="entry 0 of the table has 1 results, but 2 durations"):
        RecordedCurves([{"config": {}, "results": [{}], "seconds": [1, 2]}])
    with pytest.raises(ValueError, match="at least one entry"):
        RecordedCurves([])
