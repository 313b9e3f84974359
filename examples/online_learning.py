"""Online learning: a model learns from a stream while others ask it, and notices that the world has changed.

A generator task is the stream. The learner is an actor with threads in two groups: one learns, several answer, so questions never
wait behind lessons. Each message is first a test, then a lesson. In the middle the senders of spam change their words, and
the accuracy of a model that had stopped learning shows what this is for.

Run: python examples/online_learning.py
Needs: pip install aktis-core numpy
Prints: the accuracy on each stretch of the stream, of the model that goes on learning and of the one that does not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import aktis

WORDS, BATCH, BATCHES, STOP, CHANGE = 300, 50, 60, 20, 30
Batch = tuple[np.ndarray, np.ndarray]


@aktis.remote(num_returns="streaming")
def messages(seed: int) -> Iterator[Batch]:
    """Batches of messages as counts of words, and which of them are spam."""
    rng = np.random.default_rng(seed)
    ham, spam, other_spam = rng.dirichlet(np.full(WORDS, 0.3), size=3)
    for number in range(BATCHES):
        labels = rng.integers(0, 2, BATCH)
        bad = spam if number < CHANGE else other_spam
        yield np.stack([rng.multinomial(12, bad if label else ham) for label in labels]), labels


@aktis.remote(concurrency_groups={"learn": 1, "answer": 4})
class Learner:
    """Naive Bayes whose counts fade, so that what was long ago matters less."""

    def __init__(self, fading: float = 0.95) -> None:
        self.fading = fading
        self.counts, self.lessons = np.ones((2, WORDS)), 0

    @aktis.method(concurrency_group="learn")
    def learn(self, words: np.ndarray, labels: np.ndarray) -> int:
        news = np.stack([words[labels == label].sum(axis=0) for label in (0, 1)])
        self.counts = 1e-2 + self.fading * self.counts + news  # a new array: who reads the old one is not disturbed
        self.lessons += 1
        return self.lessons

    @aktis.method(concurrency_group="answer")
    def predict(self, words: np.ndarray) -> np.ndarray:
        logs = np.log(self.counts / self.counts.sum(axis=1, keepdims=True))
        return (words @ logs.T).argmax(axis=1)


def main() -> None:
    right: dict[str, list[float]] = {"goes on learning": [], "stopped learning": []}
    with aktis.init(num_cpus=4):
        learners = {name: Learner.remote() for name in right}
        for number, reference in enumerate(messages.remote(seed=0)):
            words, labels = aktis.get(reference)
            answers = {name: learner.predict.remote(words) for name, learner in learners.items()}
            for name, answer in answers.items():  # the test ...
                right[name].append(float((aktis.get(answer) == labels).mean()))
            lessons = [
                learner.learn.remote(words, labels)  # ... and the lesson
                for name, learner in learners.items()
                if number < STOP or name == "goes on learning"
            ]
            aktis.get(lessons)
    stretches = {
        "the first ten": (0, 10),
        "before the change": (STOP, CHANGE),
        "just after": (CHANGE, CHANGE + 3),
        "at the end": (-10, None),
    }
    for title, (begin, end) in stretches.items():
        means = {name: float(np.mean(values[begin:end])) for name, values in right.items()}
        print(f"{title:18} " + ", ".join(f"{name} {mean:4.0%}" for name, mean in means.items()))
    assert means["goes on learning"] > 0.9
    assert means["goes on learning"] > means["stopped learning"] + 0.1


if __name__ == "__main__":
    main()
