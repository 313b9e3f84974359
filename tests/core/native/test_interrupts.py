"""Ctrl-C at any moment: the program gets KeyboardInterrupt, and nothing that was submitted is lost."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, random, signal, threading, time
import aktis

aktis.init(num_cpus=2, mode="native")

@aktis.remote
def task(x):
    return x

@aktis.remote
class Actor:
    def method(self, x):
        return x

actor = Actor.remote()
aktis.get(actor.method.remote(0))
submitted, interrupts, over = [], 0, False

def pester():
    while not over:
        time.sleep(random.random() * 0.01)
        os.kill(os.getpid(), signal.SIGINT)

def work(end):
    while time.monotonic() < end:
        value = len(submitted)
        ref = task.remote(value)
        submitted.append((value, ref))
        ref = actor.method.remote(value)
        submitted.append((value, ref))
        if value % 100 == 0:
            aktis.get([ref for _, ref in submitted[-20:]])

def until(end):
    # whatever strikes, wherever it strikes
    global interrupts, over
    while True:
        try:
            work(end)
            over = True
            time.sleep(0.2)
            return
        except KeyboardInterrupt:
            interrupts += 1

threading.Thread(target=pester, daemon=True).start()
end = time.monotonic() + 3
while not over:
    try:
        until(end)
    except KeyboardInterrupt:
        interrupts += 1
for value, ref in submitted:
    assert aktis.get(ref, timeout=30) == value
print("interrupts", interrupts > 10, "submitted", len(submitted) > 100)
"""

WAITING = """
import os, signal, threading, time
import aktis

aktis.init(num_cpus=1, mode="native")

@aktis.remote
def forever():
    time.sleep(1000)

threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    aktis.get(forever.remote())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.timeout(120)
def test_nothing_is_lost() -> None:
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100)
    assert result.stdout.strip() == "interrupts True submitted True", result.stderr[-2000:]


def test_a_waiting_get_is_interrupted() -> None:
    result = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True, timeout=50)
    assert result.stdout.strip() == "interrupted", result.stderr[-2000:]
