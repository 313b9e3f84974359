"""What Aktis costs on a Ray cluster, over plain Ray calls on the same cluster, measured in turns in one run.

    hatch run bench-ray                        every part
    hatch run bench-ray --only cluster         as a process of the cluster: aktis.init("ray")
    hatch run bench-ray --only client          from outside of it: aktis.init("ray://...")
    hatch run bench-ray --quick
    hatch run bench-ray --write                put the table into benchmarks/README.md

Starts a cluster of two nodes on this machine and ends it. Bar: at most 15 % on top of Ray.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from _parts import Row, parser_for, run_json, run_parts
from _tables import number

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the cluster is that of the tests

from tests.helpers.ray_cluster import RayCluster  # noqa: E402

BAR = 0.15
LIMIT_S = 600


@dataclass(frozen=True, slots=True)
class Setting:
    cluster: RayCluster
    quick: bool


def overhead(ours: list[float], rays: list[float]) -> float:
    """Of the lower quartiles: what else happens on the machine makes calls slower, never faster."""
    return lower_quartile(ours) / lower_quartile(rays) - 1


def lower_quartile(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=4, method="inclusive")[0]


def compare(setting: Setting, address: str, where: str) -> list[Row]:
    program = [sys.executable, str(HERE / "_ray_engine_programs.py"), *(["--quick"] if setting.quick else []), address]
    rows = []
    for found in run_json(program, LIMIT_S, setting.cluster.environment):
        over = overhead(found["aktis"], found["ray"])
        each = {name: number(1e6 * lower_quartile(found[name])) for name in ("aktis", "ray")}
        rows.append(
            Row(
                f"{where}: {found['title']}",
                f"{over:+.1%}",
                f"at most +{BAR:.0%}",
                over <= BAR,
                f"{each['aktis']} µs, Ray {each['ray']} µs",
                {name: found[name] for name in ("aktis", "ray")},
            )
        )
    return rows


def cluster(setting: Setting) -> list[Row]:
    """The driver is a process of the cluster."""
    return compare(setting, "ray", "cluster")


def client(setting: Setting) -> list[Row]:
    """The driver is outside of the cluster: everything goes through Ray Client."""
    return compare(setting, setting.cluster.client_address, "client")


PARTS: dict[str, Callable[[Setting], list[Row]]] = {"cluster": cluster, "client": client}


def main() -> None:
    parser = parser_for(__doc__, PARTS)
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter of the cluster's nodes, with Ray and numpy"
    )
    arguments = parser.parse_args()
    with RayCluster.start(arguments.python, store_bytes=600 << 20) as cluster:
        run_parts("Ray engine", PARTS, Setting(cluster, arguments.quick), arguments)


if __name__ == "__main__":
    main()
