"""Optimism in the face of uncertainty (Auer 2002): the model adds its uncertainty to the scores."""

from __future__ import annotations

from aktis.rllib.utils.exploration.thompson_sampling import ThompsonSampling


class UpperConfidenceBound(ThompsonSampling):
    """For models whose outputs are upper bounds of the scores of arms: takes the best of them.

    Without `explore`, takes the arm whose expected score is the best: `model.predict(model.current_obs())`
    where the model has these.
    """
