"""Reinforcement learning from scratch: an agent learns the shortest way out of a maze, on plain tasks and actors.

The environment is a small class, the policy a table of numpy (Q-learning), and players are actors that keep an environment
each. In each round all players play with the same policy, which is put into shared memory once; the driver learns from
what they lived through. A breadth-first search knows the truth, and is what the result is compared with.

Run: python examples/maze_q_learning.py
Needs: pip install aktis-core numpy
Prints: the length of the way after some rounds, the maze with the way that was learned, and the length of the shortest one.
"""

from __future__ import annotations

from collections import deque

import numpy as np

import aktis

MAZE = """
S.#......
.##.####.
....#....
.####.##.
......#.G
"""
MOVES = [(-1, 0), (0, 1), (1, 0), (0, -1)]
PLAYERS, ROUNDS, EPISODES, LIMIT = 2, 20, 10, 200
Step = tuple[int, int, float, int, bool]  # state, action, reward, next state, whether it is the end


class Maze:
    def __init__(self) -> None:
        self.rows = MAZE.split()
        self.width = len(self.rows[0])
        flat = "".join(self.rows)
        self.start, self.goal, self.states = flat.index("S"), flat.index("G"), len(flat)

    def move(self, state: int, action: int) -> int:
        """The field that one gets to: the same, where a wall or the edge is."""
        row, column = state // self.width + MOVES[action][0], state % self.width + MOVES[action][1]
        inside = 0 <= row < len(self.rows) and 0 <= column < self.width
        return row * self.width + column if inside and self.rows[row][column] != "#" else state

    def shortest(self) -> int:
        queue, distance = deque([self.start]), {self.start: 0}
        while queue:
            state = queue.popleft()
            for there in {self.move(state, action) for action in range(4)} - distance.keys():
                distance[there] = distance[state] + 1
                queue.append(there)
        return distance[self.goal]


@aktis.remote
class Player:
    def __init__(self, seed: int) -> None:
        self.maze, self.rng = Maze(), np.random.default_rng(seed)

    def play(self, table: np.ndarray, explore: float) -> list[list[Step]]:
        """Episodes with a policy: mostly its best action, sometimes any."""
        return [self.episode(table, explore) for _ in range(EPISODES)]

    def episode(self, table: np.ndarray, explore: float) -> list[Step]:
        state, steps = self.maze.start, []
        while state != self.maze.goal and len(steps) < LIMIT:
            action = int(self.rng.integers(4) if self.rng.random() < explore else table[state].argmax())
            there = self.maze.move(state, action)
            steps.append((state, action, -1.0, there, there == self.maze.goal))
            state = there
        return steps


def learn(table: np.ndarray, episodes: list[list[Step]], rate: float = 0.5) -> None:
    """Q-learning, backwards through each episode, so that the end of the maze is felt at its beginning at once."""
    for episode in episodes:
        for state, action, reward, there, end in reversed(episode):
            target = reward + (0.0 if end else table[there].max())
            table[state, action] += rate * (target - table[state, action])


def way(table: np.ndarray, maze: Maze) -> list[int]:
    """The fields that the policy walks over when it does not explore."""
    fields = [maze.start]
    while fields[-1] != maze.goal and len(fields) <= LIMIT:
        fields.append(maze.move(fields[-1], int(table[fields[-1]].argmax())))
    return fields


def main() -> None:
    maze = Maze()
    table = np.zeros((maze.states, 4))
    with aktis.init():
        players = [Player.remote(seed) for seed in range(PLAYERS)]
        for number in range(ROUNDS):
            policy = aktis.put(table)
            for episodes in aktis.get([player.play.remote(policy, 0.3) for player in players]):
                learn(table, episodes)
            if number % 4 == 3:
                steps = len(way(table, maze)) - 1
                print(f"round {number + 1:2}: " + (f"{steps} steps" if steps < LIMIT else "does not get there yet"))
    walked = way(table, maze)
    fields = ["*" if i in walked[1:-1] else field for i, field in enumerate("".join(maze.rows))]
    for begin in range(0, maze.states, maze.width):
        print("  " + "".join(fields[begin : begin + maze.width]))
    print(f"learned: {len(walked) - 1} steps, shortest: {maze.shortest()}")
    assert len(walked) - 1 == maze.shortest()


if __name__ == "__main__":
    main()
