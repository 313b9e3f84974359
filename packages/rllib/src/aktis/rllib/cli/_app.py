"""The commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aktis.cli import command_group
from aktis.rllib.cli import CommandError, main
from aktis.rllib.cli import _options as opt

app = main.group()
train_app = command_group("train", no_args_is_help=False)
example_app = command_group("example", "Examples that come along, with the returns that they reach.")
app.add_typer(train_app, name="train")
app.add_typer(example_app, name="example")


@train_app.callback(invoke_without_command=True)
def train(
    context: typer.Context,
    algo: opt.Algo = None,
    env: opt.Env = None,
    config: opt.Config = None,
    stop: opt.Stop = None,
    file: Annotated[
        str | None,
        typer.Option("--config-file", "-f", "--file", help="An experiment as a file; see `rllib train file`."),
    ] = None,
    experiment_name: opt.Name = "default",
    num_samples: opt.NumSamples = 1,
    checkpoint_freq: opt.CheckpointFreq = 0,
    checkpoint_at_end: opt.CheckpointAtEnd = True,
    local_dir: opt.LocalDir = None,
    restore: opt.Restore = None,
    resources_per_trial: opt.Resources = None,
    keep_checkpoints_num: opt.KeepCheckpoints = None,
    checkpoint_score_attr: opt.CheckpointScore = "training_iteration",
    upload_dir: opt.UploadDir = None,
    log_info: opt.Info = False,
    log_debug: opt.Debug = False,
    framework: opt.FrameworkOption = None,
    trace: opt.Trace = False,
    local_mode: opt.LocalMode = False,
    address: opt.Address = None,
    num_cpus: opt.NumCpus = None,
    num_gpus: opt.NumGpus = None,
    num_nodes: opt.NumNodes = None,
    object_store_memory: opt.StoreMemory = None,
    ray_ui: opt.RayUi = False,
    resume: opt.Resume = False,
    scheduler: opt.Scheduler = "FIFO",
    scheduler_config: opt.SchedulerConfig = None,
    report: opt.Report = True,
) -> int | None:
    """Train an algorithm: rllib train --algo PPO --env CartPole-v1 --stop '{"episode_reward_mean": 450}'."""
    if context.invoked_subcommand is not None:
        return None
    from aktis.rllib.cli._experiments import from_options, load
    from aktis.rllib.cli._train import Run, Session, run

    common = Run(
        session=Session(address, num_cpus, num_gpus, object_store_memory, local_mode), framework=_value(framework), trace=trace,
        resume=resume, scheduler=scheduler, scheduler_config=scheduler_config, level=1 if log_info else 2 if log_debug else 0,
        report=report,
    )  # fmt: skip
    if file is not None:
        return run(load(file, stop, checkpoint_freq, checkpoint_at_end), common)
    if algo is None or (env is None and not config):
        raise CommandError(
            "what to train is missing: give --algo and --env (rllib train --algo PPO --env CartPole-v1), a file "
            "(rllib train file FILE), or take an example (rllib example list)"
        )
    experiments = from_options(
        algo, env, config, stop, experiment_name,
        num_samples=num_samples, local_dir=local_dir, restore=restore, resources_per_trial=resources_per_trial,
        checkpoint_freq=checkpoint_freq, checkpoint_at_end=checkpoint_at_end, keep_checkpoints_num=keep_checkpoints_num,
        checkpoint_score_attr=checkpoint_score_attr, upload_dir=upload_dir,
    )  # fmt: skip
    return run(experiments, common)


@train_app.command("file")
def train_file(
    config_file: Annotated[str, typer.Argument(help="A .yaml or .py file, or the URL of one.")],
    stop: opt.Stop = None,
    checkpoint_freq: opt.CheckpointFreq = 0,
    checkpoint_at_end: opt.CheckpointAtEnd = True,
    log_info: opt.Info = False,
    log_debug: opt.Debug = False,
    framework: opt.FrameworkOption = None,
    trace: opt.Trace = False,
    local_mode: opt.LocalMode = False,
    address: opt.Address = None,
    num_cpus: opt.NumCpus = None,
    num_gpus: opt.NumGpus = None,
    num_nodes: opt.NumNodes = None,
    object_store_memory: opt.StoreMemory = None,
    ray_ui: opt.RayUi = False,
    resume: opt.Resume = False,
    scheduler: opt.Scheduler = "FIFO",
    scheduler_config: opt.SchedulerConfig = None,
    report: opt.Report = True,
) -> int:
    """Train what a file describes: YAML with experiments, or Python with `config` (an AlgorithmConfig) and perhaps `stop`."""
    from aktis.rllib.cli._experiments import load
    from aktis.rllib.cli._train import Run, Session, run

    common = Run(
        session=Session(address, num_cpus, num_gpus, object_store_memory, local_mode), framework=_value(framework), trace=trace,
        resume=resume, scheduler=scheduler, scheduler_config=scheduler_config, level=1 if log_info else 2 if log_debug else 0,
        report=report,
    )  # fmt: skip
    return run(load(config_file, stop, checkpoint_freq, checkpoint_at_end), common)


def evaluate(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="The checkpoint; without one, an algorithm that has learned nothing.")
    ] = None,
    algo: opt.Algo = None,
    env: opt.Env = None,
    local_mode: opt.LocalMode = False,
    render: Annotated[
        bool, typer.Option("--render/--no-render", help="Show the environment; without a display, record a video.")
    ] = False,
    video: Annotated[
        Path | None, typer.Option("--video", help="Record a video here (.mp4 or .gif), with --render or without.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Steps at most; 0: no limit.")] = 10_000,
    episodes: Annotated[int, typer.Option("--episodes", min=0, help="Episodes at most; 0: no limit.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write the episodes to this file (pickle).")] = None,
    config: opt.Config = None,
    save_info: Annotated[bool, typer.Option("--save-info/--no-save-info", help="Also the info of each step.")] = False,
    use_shelve: Annotated[
        bool, typer.Option("--use-shelve/--no-use-shelve", help="Write each episode at once, into a shelf.")
    ] = False,
    track_progress: Annotated[
        bool, typer.Option("--track-progress/--no-track-progress", help="Write the progress into a file beside --out.")
    ] = False,
    explore: Annotated[
        bool | None, typer.Option("--explore/--no-explore", help="Whether to explore; default: as in evaluations.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the environment.")] = None,
) -> None:
    """Let a trained algorithm act: rllib evaluate CHECKPOINT --algo PPO --episodes 10 --render."""
    from aktis.rllib.cli._evaluate import Evaluation

    Evaluation(
        checkpoint=checkpoint, algo=algo, env=env, config=config, steps=steps, episodes=episodes, explore=explore, seed=seed,
        local_mode=local_mode,
    ).run(out, save_info, use_shelve, track_progress, render, video)  # fmt: skip


app.command("evaluate")(evaluate)
app.command("rollout", hidden=True, deprecated=True)(evaluate)


@example_app.command("list")
def list_examples(
    filter: Annotated[str | None, typer.Option("--filter", "-f", help="Only those whose ID has this in it.")] = None,
) -> None:
    """List the examples."""
    from aktis.rllib.cli._examples import show

    show(filter)


@example_app.command("get")
def get_example(example_id: Annotated[str, typer.Argument(help="The ID, as `rllib example list` shows it.")]) -> None:
    """Print the configuration of an example."""
    from aktis.rllib.cli._examples import text_of

    print(text_of(example_id), end="")


@example_app.command("run")
def run_example(
    example_id: Annotated[str, typer.Argument(help="The ID, as `rllib example list` shows it.")],
    framework: opt.FrameworkOption = None,
    stop: opt.Stop = None,
    local_mode: opt.LocalMode = False,
    num_cpus: opt.NumCpus = None,
    report: opt.Report = True,
) -> int:
    """Run an example."""
    from aktis.rllib.cli._examples import path_of
    from aktis.rllib.cli._experiments import load
    from aktis.rllib.cli._train import Run, Session, run

    session = Session(None, num_cpus, None, None, local_mode)
    return run(
        load(str(path_of(example_id)), stop, 1, True), Run(session=session, framework=_value(framework), report=report)
    )


@app.command("report")
def report(
    path: Annotated[Path, typer.Argument(help="The directory of a trial, or of an experiment.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file; default: report.html there.")] = None,
) -> None:
    """Write a page about a run: returns, lengths, losses, steps per second. One file, also offline."""
    from aktis.rllib.html_report import write_report

    print(write_report(path, output))


@app.command("version")
def version() -> None:
    """Print the version."""
    from aktis.rllib.__about__ import __version__

    print(__version__)


def _value(framework: opt.Framework | None) -> str | None:
    return None if framework is None else framework.value
