"""``import gym`` on top of Gymnasium, for programs written before Gym 0.26."""
