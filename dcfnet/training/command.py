"""The commands ``train``, ``evaluate`` and ``experiment``: their flags are their arguments.

What takes long to import is imported when a command is carried out, so that help comes at once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import mutually_exclusive

from dcfnet.imagery.regions import Split
from dcfnet.imagery.sensors import SENSORS
from dcfnet.training.plan import Plan

if TYPE_CHECKING:
    from dcfnet.imagery.sensors import Sensor
    from dcfnet.networks import PansharpeningNetwork
    from dcfnet.training.history import History

__all__ = ["Flag", "NetworkName", "SensorName", "evaluate", "exclusive", "experiment", "train"]

NetworkName = Literal["dcfnet", "fusionnet", "pannet", "dicnn", "msdcnn", "pnn"]
"""The keys of `dcfnet.networks.NETWORKS`, which takes torch to import."""

SensorName = Annotated[
    str | None,
    Parameter(
        help=f"What took the images: {', '.join(SENSORS)}, or a .toml file that describes it; by "
        "default what the data file notes, else what its number of bands suggests."
    ),
]

Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
"""Something that is not so unless it is asked for."""

DATA = Group("Data", sort_key=1)
RUN = Group("Run", sort_key=2)
LEARNING = Group("Learning", sort_key=3)
DCFNET = Group("DCFNet", sort_key=4)


def exclusive(title: str) -> Group:
    """A group of flags of which one at most can be given."""
    return Group(title, validator=mutually_exclusive)


WEIGHTS, PATCHES = exclusive("Weights"), exclusive("Patches")


def train(
    network: NetworkName,
    /,
    *,
    train: Annotated[Path | None, Parameter(group=DATA)] = None,
    valid: Annotated[Path | None, Parameter(group=DATA)] = None,
    sensor: Annotated[SensorName, Parameter(group=DATA)] = None,
    run_dir: Annotated[Path | None, Parameter(group=RUN)] = None,
    resume: Annotated[Flag, Parameter(group=RUN)] = False,
    from_best: Annotated[Flag, Parameter(group=RUN)] = False,
    max_seconds: Annotated[float | None, Parameter(group=RUN)] = None,
    device: Annotated[Literal["auto", "cpu"], Parameter(group=RUN)] = "auto",
    workers: Annotated[int, Parameter(group=RUN)] = 0,
    compile: Annotated[Flag, Parameter(group=RUN)] = False,
    plan: Annotated[Plan, Parameter(name="*", group=LEARNING)] = Plan(),  # noqa: B008
    width: Annotated[float | None, Parameter(group=DCFNET)] = None,
    direct: Annotated[Flag, Parameter(group=DCFNET)] = False,
) -> int:
    """Train a network on HDF5 files in PanCollection's layout.

    Every epoch the run's folder gets a new history.csv and checkpoint, and weights.safetensors
    whenever the validation loss is the lowest so far. Ctrl-C stops after the current step; the same
    command with --resume goes on as if nothing had happened.

    Args:
        network: Which network.
        train: HDF5 file of patches to train on; by default that of the book's scene.
        valid: HDF5 file of patches to validate with; by default that of the book's scene.
        sensor: What took the images; its help names all.
        run_dir: Folder of the results; by default runs/NETWORK, here.
        resume: Go on with the run in that folder.
        from_best: The same, also without a checkpoint: from the best weights, with a new Adam.
        max_seconds: Stop after so many seconds.
        device: auto: a GPU if there is one.
        workers: Processes that read patches ahead.
        compile: Use torch.compile.
        plan: What decides the outcome; each setting is a flag.
        width: Share of the paper's channels; by default 1.
        direct: Predict the image itself, not its details.
    """
    import torch

    from dcfnet.imagery.building import data_file
    from dcfnet.imagery.pancollection import PatchDataset
    from dcfnet.imagery.sensors import get_sensor
    from dcfnet.networks import build_network
    from dcfnet.training.loop import fit

    options: dict[str, float | bool] = {}
    if network == "dcfnet":
        options = {"inject_details": not direct, "width": 1.0 if width is None else width}
    elif width is not None or direct:
        raise ValueError("--width and --direct are options of DCFNet alone")
    patches = PatchDataset(train or data_file("train"), get_sensor(sensor) if sensor else None)
    folder = run_dir or Path("runs") / network
    torch.manual_seed(plan.seed)
    shown = sys.stderr.isatty()
    history = fit(
        build_network(network, patches.sensor.n_bands, **options),
        patches,
        PatchDataset(valid or data_file("valid"), patches.sensor),
        plan,
        run_dir=folder,
        resume="best" if from_best else resume,
        max_seconds=max_seconds,
        device=device,
        workers=workers,
        compile=compile,
        progress=shown,
        on_epoch=None if shown else print_epoch,
    )
    best = history.best_epoch()
    if best is not None:
        row = history.rows[best - 1]
        print(
            f"best epoch {best}: validation loss {row['valid_loss']:.3e}, {_quality(row)}; "
            f"{folder / 'weights.safetensors'}"
        )
    if not history.finished:
        print(f"stopped by {history.stopped} after {len(history)} epochs; --resume goes on")
    return {"SIGINT": 130, "SIGTERM": 143}.get(history.stopped, 0)


def print_epoch(history: History, run: str = "") -> None:
    """A line about the last epoch, where no progress bar can be shown."""
    row = history.rows[-1]
    print(
        f"{run} epoch {row['epoch']}:".lstrip(),
        f"training {row['train_loss']:.3e}, validation {row['valid_loss']:.3e},",
        f"{_quality(row)}, {row['seconds']:.0f} s",
        flush=True,
    )


def _quality(row: dict[str, float]) -> str:
    return f"SAM {row['sam']:.3f}, ERGAS {row['ergas']:.3f}, PSNR {row['psnr']:.2f} dB"


def evaluate(
    network: NetworkName,
    /,
    *,
    weights: Annotated[Path | None, Parameter(group=WEIGHTS)] = None,
    released: Annotated[Path | None, Parameter(group=WEIGHTS)] = None,
    data: Annotated[Path | None, Parameter(group=PATCHES)] = None,
    split: Annotated[Split, Parameter(group=PATCHES)] = "test",
    sensor: SensorName = None,
    device: Literal["auto", "cpu"] = "auto",
    json: Flag = False,
) -> None:
    """Measure a network on HDF5 patches with truth: mean of each metric over the patches.

    Args:
        network: Which network; without weights the book's trained one.
        weights: weights.safetensors of a run.
        released: A released .pth file.
        data: HDF5 file.
        split: Of the book's scene.
        sensor: What took the images; its help names all.
        device: auto: a GPU if there is one.
        json: Print JSON, all digits.
    """
    import torch

    from dcfnet.imagery.building import data_file
    from dcfnet.imagery.pancollection import PatchDataset
    from dcfnet.imagery.sensors import get_sensor
    from dcfnet.training.evaluate import evaluate_network

    patches = PatchDataset(data or data_file(split), get_sensor(sensor) if sensor else None)
    model = _model(network, weights, released, patches.sensor)
    if device == "auto" and torch.cuda.is_available():
        model.cuda()
    values = evaluate_network(model, patches, full=True)
    if json:
        print(dumps({"patches": len(patches), **values}))
        return
    units = {"sam": " degrees", "psnr": " dB"}
    print(f"{model.title} on {len(patches)} patches of {patches.path}")
    for name, value in values.items():
        digits = f"{value:.3e}" if name == "loss" else f"{value:.4f}"
        print(f"{name:>6}  {digits if math.isfinite(value) else value}{units.get(name, '')}")


def _model(
    network: str, weights: Path | None, released: Path | None, sensor: Sensor
) -> PansharpeningNetwork:
    from dcfnet.networks import load_released, load_trained, load_weights

    if released:
        return load_released(network, released, sensor.n_bands)
    if weights is None:
        return load_trained(network)
    model = load_weights(weights)
    if model.name != network:
        raise ValueError(
            f"{weights} holds a {model.title}, not {network}: pass {model.name} or other weights"
        )
    return model


def experiment(
    runs: Sequence[str] = (),
    /,
    *,
    all: Flag = False,
    list: Flag = False,
    learning_rates: Flag = False,
    max_seconds: float | None = None,
    device: Literal["auto", "cpu"] = "auto",
    workers: int = 0,
) -> int:
    """Train what the book shows: six networks on three folds, and what else its claims need.

    Each run leaves data/runs/RUN. A run that was interrupted goes on where it stopped, and one that
    is finished is left alone, so the command can be repeated at will. Several processes can share
    the runs. Set DCFNET_DATA to train everything anew elsewhere.

    Args:
        runs: Names of runs, also with * and ?, for example fusionnet/fold0 or 'length/*'.
        all: Carry out all of them.
        list: Say what has been done of them, and do nothing.
        learning_rates: Those that choose learning rates, which also precede a run that needs one.
        max_seconds: Stop after so many seconds, in all.
        device: auto: a GPU if there is one.
        workers: Processes that read patches ahead.
    """
    from dcfnet.training.experiment import carry_out, overview
    from dcfnet.training.trials import select

    wanted = ["*"] if all or (list and not runs) else runs
    names = select([*wanted, "rates/*"] if learning_rates else wanted)
    if not names:
        raise ValueError("name the runs to carry out, or pass --all, --list or --learning-rates")
    if list:
        print(overview(names).to_string(na_rep="?"))
        return 0
    shown = sys.stderr.isatty()
    stopped = carry_out(
        names,
        max_seconds=max_seconds,
        device=device,
        workers=workers,
        progress=shown,
        on_epoch=None if shown else lambda name, history: print_epoch(history, name),
    )
    if stopped:
        print(f"stopped by {stopped}; the same command goes on")
    return {"SIGINT": 130, "SIGTERM": 143}.get(stopped, 0)
