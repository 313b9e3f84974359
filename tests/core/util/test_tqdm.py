from __future__ import annotations

import io

import pytest

from aktis.util.tqdm import safe_print, tqdm


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    assert list(tqdm([1, 2, 3], desc="work", file=out)) == [1, 2, 3]
    (line,) = out.getvalue().splitlines()
    assert line.startswith("work: 100% 3/3 [00:00<")
    assert "\r" not in out.getvalue()


def test_a_bar_on_a_terminal() -> None:
    out = Terminal()
    with tqdm(total=4, desc="rows", unit="row", file=out) as bar:
        bar.update(1)
        bar.set_postfix(loss=0.25)
        bar.set_description("more")
        bar.update(3)
    last = out.getvalue().rstrip("\n").split("\r")[-1]
    assert "more: 100%" in last
    assert "4/4" in last
    assert "loss=0.25" in last
    assert out.getvalue().endswith("\n")
    bar.close()


def test_without_a_total_and_disabled() -> None:
    out = io.StringIO()
    bar = tqdm(iter("ab"), file=out)
    assert bar.total is None
    assert list(bar) == ["a", "b"]
    assert "2 it [" in out.getvalue()
    silent = io.StringIO()
    list(tqdm([1], file=silent, disable=True))
    assert silent.getvalue() == ""
    with pytest.raises(TypeError, match="without an iterable"):
        list(tqdm())


def test_reset_and_rates() -> None:
    bar = tqdm(total=10, file=io.StringIO(), disable=True)
    bar.update(5)
    bar.reset(total=20)
    assert (bar.n, bar.total) == (0, 20)
    assert bar.line().startswith("  0% 0/20")


def test_safe_print(capsys: pytest.CaptureFixture[str]) -> None:
    out = Terminal()
    bar = tqdm(total=1, file=out)
    bar.refresh()
    safe_print("between")
    bar.close()
    safe_print("after")
    assert capsys.readouterr().out == "between\nafter\n"


def test_the_name_that_scripts_import() -> None:
    from aktis.experimental import tqdm_ray

    assert tqdm_ray.tqdm is tqdm
