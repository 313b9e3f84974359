"""Options that several commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Framework(str, Enum):
    """What networks are made with."""

    torch = "torch"
    tf2 = "tf2"
    tf = "tf"


Algo = Annotated[
    str | None,
    typer.Option(
        "--algo", "--run", "-a", "-r", help="The algorithm: PPO, DQN, ..., or a trainable by its registered name."
    ),
]
Env = Annotated[
    str | None,
    typer.Option(
        "--env", "-e", help="The environment: a name that Gymnasium knows, or a class (package.module.Class)."
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", "-c", help="Settings of the algorithm, as JSON, or a file with them (.json, .yaml)."),
]
Stop = Annotated[
    str | None,
    typer.Option(
        "--stop", "-s", help='When to stop, as JSON: \'{"episode_reward_mean": 450, "timesteps_total": 100000}\'.'
    ),
]
Name = Annotated[str, typer.Option("--experiment-name", "-n", help="Name of the directory for the results.")]
NumSamples = Annotated[int, typer.Option("--num-samples", min=1, help="How often to repeat each trial.")]
CheckpointFreq = Annotated[
    int, typer.Option("--checkpoint-freq", min=0, help="Iterations between checkpoints; 0: none.")
]
CheckpointAtEnd = Annotated[
    bool, typer.Option("--checkpoint-at-end/--no-checkpoint-at-end", help="Make a checkpoint at the end.")
]
LocalDir = Annotated[Path | None, typer.Option("--local-dir", help="Where results go; default ~/aktis_results.")]
Restore = Annotated[Path | None, typer.Option("--restore", help="Begin with this checkpoint.")]
Resources = Annotated[
    str | None,
    typer.Option("--resources-per-trial", help="What a trial reserves, as JSON, in place of what its config says."),
]
KeepCheckpoints = Annotated[
    int | None, typer.Option("--keep-checkpoints-num", min=1, help="How many checkpoints to keep; default: all.")
]
CheckpointScore = Annotated[
    str, typer.Option("--checkpoint-score-attr", help="What says which checkpoints are the best.")
]
UploadDir = Annotated[str | None, typer.Option("--upload-dir", help="Upload results to this URI (s3://...).")]
Info = Annotated[bool, typer.Option("--log-info", "-v", help="Log what happens.")]
Debug = Annotated[bool, typer.Option("--log-debug", "-vv", help="Log everything.")]
FrameworkOption = Annotated[Framework | None, typer.Option("--framework", help="torch (default) or tf2.")]
Trace = Annotated[bool, typer.Option("--trace/--no-trace", help="Trace eager code (tf2).")]
LocalMode = Annotated[
    bool, typer.Option("--local-mode/--no-local-mode", help="Everything in this process, for debuggers.")
]
Address = Annotated[
    str | None, typer.Option("--address", "--ray-address", help="Address of a session or cluster to connect to.")
]
NumCpus = Annotated[
    float | None, typer.Option("--num-cpus", "--ray-num-cpus", help="CPUs of the session that is started.")
]
NumGpus = Annotated[
    float | None, typer.Option("--num-gpus", "--ray-num-gpus", help="GPUs of the session that is started.")
]
StoreMemory = Annotated[
    int | None,
    typer.Option(
        "--object-store-memory", "--ray-object-store-memory", help="Bytes for shared objects in that session."
    ),
]
NumNodes = Annotated[int | None, typer.Option("--ray-num-nodes", hidden=True, help="Accepted; there is one node here.")]
RayUi = Annotated[
    bool, typer.Option("--ray-ui/--no-ray-ui", hidden=True, help="Accepted; `aktis status` shows the state.")
]
Resume = Annotated[bool, typer.Option("--resume/--no-resume", help="Go on with the experiment of that name.")]
Scheduler = Annotated[str, typer.Option("--scheduler", help="FIFO, ASHA, HyperBand, MedianStopping, PBT, ...")]
SchedulerConfig = Annotated[str | None, typer.Option("--scheduler-config", help="Arguments of the scheduler, as JSON.")]
Report = Annotated[
    bool, typer.Option("--report/--no-report", help="Write a page about each trial (report.html) at the end.")
]
