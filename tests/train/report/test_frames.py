"""Tracebacks on the page: the user's frames, and which rank it was."""

from __future__ import annotations

from aktis.train._report.frames import error_line, failed_rank, user_frames

TEXT = """\
next() failed (pid=7841, actor_id=07282c0c, repr=TorchTrainer rank=1)
Traceback (most recent call last):
  File "/site-packages/aktis/train/_execution/worker.py", line 98, in next
    raise without_our_frames(error)
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/data/train.py", line 12, in loop
    step(batch)
    ^^^^^^^^^^^
  File "/data/aktis_tools.py", line 6, in step
    raise ValueError("boom")
ValueError: boom
with more to it
"""


def test_frames_of_the_library_are_left_out() -> None:
    text = user_frames(TEXT)
    assert "worker.py" not in text and "without_our_frames" not in text
    assert text.splitlines()[2:5] == [
        '  File "/data/train.py", line 12, in loop',
        "    step(batch)",
        "    ^^^^^^^^^^^",
    ]
    assert "aktis_tools.py" in text, "a file of the user's"
    assert text.endswith("ValueError: boom\nwith more to it\n")


def test_a_traceback_of_the_library_alone_stays() -> None:
    text = 'Traceback (most recent call last):\n  File "/x/aktis/train/a.py", line 1, in f\n    g()\nRuntimeError: no\n'
    assert user_frames(text) == text
    assert user_frames("just words") == "just words"


def test_a_chain_loses_the_links_that_are_ours() -> None:
    cause = 'Traceback (most recent call last):\n  File "/x/aktis/tune/a.py", line 1, in f\n    g()\nKeyError: 1\n\n'
    text = user_frames(cause + "The above exception was the direct cause of the following exception:\n\n" + TEXT)
    assert text.startswith("KeyError: 1\n"), "its message is still there"


def test_the_line_and_the_rank() -> None:
    assert error_line(TEXT) == "ValueError: boom"
    assert error_line("1 of 2 workers died. rank 1 (pid=1, vm): killed\n  rank 0: fine") == (
        "1 of 2 workers died. rank 1 (pid=1, vm): killed"
    )
    assert failed_rank(TEXT) == 1
    assert failed_rank("1 of 2 workers died. rank 3 (pid=1, vm): killed") == 3
    assert failed_rank("ranks 2, 3 did not report within 5 s") == 2
    assert failed_rank("ValueError: boom") is None
    assert error_line("") == ""
