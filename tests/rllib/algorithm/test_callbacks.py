"""Callbacks: several as one, and those of the first releases."""

from __future__ import annotations

import inspect
import pickle

from aktis.rllib.algorithms import callbacks as cb


class One(cb.DefaultCallbacks):
    seen: list[tuple[str, int]] = []

    def on_train_result(self, *, algorithm, result, **kwargs):
        result["order"] = [*result.get("order", []), type(self).__name__]


class Two(One):
    pass


def test_several_are_called_in_order():
    several = cb.make_multi_callbacks([One, Two])()
    result: dict = {}
    several.on_train_result(algorithm=None, result=result)
    assert result["order"] == ["One", "Two"]


def test_all_hooks_are_forwarded():
    for hook in cb.HOOKS:
        assert hook in vars(cb.MultiCallbacks)
    assert set(cb.HOOKS) == {name for name, _ in inspect.getmembers(cb.DefaultCallbacks) if name.startswith("on_")}


def test_several_can_be_pickled_and_compared():
    make = cb.make_multi_callbacks([cb.DefaultCallbacks])
    assert pickle.loads(pickle.dumps(make)) == make
    assert make != cb.make_multi_callbacks([])


def test_what_nobody_overrides_is_known():
    several = cb.make_multi_callbacks([cb.DefaultCallbacks, One])()
    assert cb.overrides_hook(several, "on_train_result")
    assert not cb.overrides_hook(several, "on_episode_step")
    assert cb.overrides_hook(cb.DefaultCallbacks({"on_episode_step": print}), "on_episode_step")


def test_functions_of_the_first_releases_get_one_dict():
    got = []
    old = cb.DefaultCallbacks({"on_episode_end": got.append, "on_train_result": got.append})
    old.on_episode_end(worker=1, base_env=2, policies=3, episode=4)
    old.on_train_result(algorithm=5, result=6)
    assert got == [{"worker": 1, "env": 2, "policy": 3, "episode": 4}, {"trainer": 5, "algorithm": 5, "result": 6}]
