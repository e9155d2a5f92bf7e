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

from dcfnet.imagery.command import Flag, SensorName, sensor_of
from dcfnet.imagery.regions import Split
from dcfnet.imagery.sensors import WV3, Sensor, generic_sensor, get_sensor
from dcfnet.training.plan import Plan

if TYPE_CHECKING:
    from dcfnet.networks import PansharpeningNetwork
    from dcfnet.training.history import History

NetworkName = Literal["dcfnet", "fusionnet", "pannet", "dicnn", "msdcnn", "pnn"]
"""The keys of `dcfnet.networks.NETWORKS`, which takes torch to import."""

DATA = Group("Data", sort_key=1)
RUN = Group("Run", sort_key=2)
LEARNING = Group("Learning", sort_key=3)
DCFNET = Group("DCFNet", sort_key=4)


def exclusive(title: str) -> Group:
    """A group of flags of which one at most can be given."""
    return Group(title, validator=mutually_exclusive)


WEIGHTS, PATCHES, FILES = exclusive("Weights"), exclusive("Patches"), Group("Files")


def train(
    network: NetworkName,
    /,
    *,
    train: Annotated[Path | None, Parameter(group=DATA)] = None,
    valid: Annotated[Path | None, Parameter(group=DATA)] = None,
    sensor: Annotated[SensorName, Parameter(group=DATA)] = None,
    run_dir: Annotated[Path | None, Parameter(group=RUN)] = None,
    weights: Annotated[Path | None, Parameter(group=RUN)] = None,
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
        weights: Begin with this weights.safetensors; one for other bands is fitted by wavelength.
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
    from dcfnet.networks import build_network
    from dcfnet.training.loop import fit

    options: dict[str, float | bool] = {}
    if weights and (width is not None or direct):
        raise ValueError("--width and --direct belong to a new network: with --weights leave them")
    if network == "dcfnet":
        options = {"inject_details": not direct, "width": 1.0 if width is None else width}
    elif width is not None or direct:
        raise ValueError("--width and --direct are options of DCFNet alone")
    patches = PatchDataset(train or data_file("train"), get_sensor(sensor) if sensor else None)
    held_back = PatchDataset(valid or data_file("valid"), patches.sensor)
    folder = run_dir or Path("runs") / network
    torch.manual_seed(plan.seed)
    if weights:
        model = load_network(network, weights, None, patches.sensor)
    else:
        model = build_network(network, patches.sensor.n_bands, **options)
    shown = sys.stderr.isatty()
    history = fit(
        model, patches, held_back, plan, run_dir=folder, resume="best" if from_best else resume,
        max_seconds=max_seconds, device=device, workers=workers, compile=compile,
        progress=shown, on_epoch=None if shown else print_epoch,
    )  # fmt: skip
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
    network: NetworkName | None = None,
    /,
    *,
    weights: Annotated[Path | None, Parameter(group=WEIGHTS)] = None,
    released: Annotated[Path | None, Parameter(group=WEIGHTS)] = None,
    data: Annotated[Path | None, Parameter(group=PATCHES)] = None,
    split: Annotated[Split, Parameter(group=PATCHES)] = "test",
    fused: Annotated[Path | None, Parameter(group=FILES)] = None,
    truth: Annotated[str | None, Parameter(group=FILES)] = None,
    ms: Annotated[str | None, Parameter(group=FILES)] = None,
    pan: Annotated[str | None, Parameter(group=FILES)] = None,
    sensor: SensorName = None,
    device: Literal["auto", "cpu"] = "auto",
    json: Flag = False,
) -> None:
    """Measure a network on HDF5 patches, or a fused GeoTIFF.

    With a truth: SAM, ERGAS, Q2n, SCC and PSNR. Without one, on patches at full resolution or
    against the pair that was fused: D_lambda, D_s and HQNR. Of patches it prints the means. Pixels
    without data do not count in GeoTIFFs.

    Args:
        network: Which network; without weights the book's trained one.
        weights: weights.safetensors of a run.
        released: A released .pth file.
        data: HDF5 file.
        split: Of the book's scene.
        fused: GeoTIFF to measure, instead of a network.
        truth: GeoTIFF of the truth, on the same grid.
        ms: GeoTIFF of MS that was fused.
        pan: GeoTIFF of PAN that was fused.
        sensor: What took the images; its help names all.
        device: auto: a GPU if there is one.
        json: Print JSON, all digits; null where there is nothing to measure.
    """
    import torch

    from dcfnet.imagery.building import data_file
    from dcfnet.imagery.pancollection import PatchDataset
    from dcfnet.training.evaluate import evaluate_network, evaluate_without_truth

    if bool(network) == bool(fused):
        raise ValueError("name a network to measure, or a fused GeoTIFF with --fused")
    if fused:
        title, values = str(fused), _measure_file(fused, truth, ms, pan, sensor)
    else:
        patches = PatchDataset(data or data_file(split), get_sensor(sensor) if sensor else None)
        model = load_network(network, weights, released, patches.sensor)
        if device == "auto" and torch.cuda.is_available():
            model.cuda()
        if "gt" in patches.keys:
            values = evaluate_network(model, patches, full=True)
        else:
            values = evaluate_without_truth(model, patches)
        title = f"{model.title} on {len(patches)} patches of {patches.path}"
        values = {"patches": len(patches), **values}
    if json:
        known = {k: v if math.isfinite(v) else None for k, v in values.items()}
        print(dumps(known, allow_nan=False))
        return
    units = {"sam": " degrees", "psnr": " dB"}
    print(title)
    for name, value in values.items():
        if name != "patches":
            digits = f"{value:.3e}" if name == "loss" else f"{value:.4f}"
            print(f"{name:>8}  {digits if math.isfinite(value) else value}{units.get(name, '')}")


def _measure_file(
    fused: Path, truth: str | None, ms: str | None, pan: str | None, sensor: str | None
) -> dict[str, float]:
    from dcfnet.measure.files import measure_against_pair, measure_against_truth

    if not truth and not (ms and pan):
        raise ValueError(
            "pass --truth to measure the fused file against, or --ms and --pan that it was made of"
        )
    taken_by = sensor_of(fused, sensor)
    values = measure_against_truth(fused, truth, taken_by) if truth else {}
    if ms and pan:
        values |= measure_against_pair(fused, ms, pan, taken_by)
    return values


def load_network(
    network: str | None, weights: Path | None, released: Path | None, sensor: Sensor
) -> PansharpeningNetwork:
    """The network that flags name, for a sensor.

    One for other bands takes over first and last layers by wavelength.

    Raises:
        DataError: The file is not what its flag says, or wavelengths are not known.
        ValueError: The file holds another network.
    """
    from dcfnet.networks import load_released, load_trained, load_weights, rebanded

    if released:
        return load_released(network, released, sensor.n_bands)
    if weights is None:
        return rebanded(load_trained(network or "dcfnet"), WV3, sensor)
    model = load_weights(weights)
    if network and model.name != network:
        raise ValueError(
            f"{weights} holds a {model.title}, not {network}: pass {model.name} or other weights"
        )
    if model.bands == sensor.n_bands:
        return model
    return rebanded(model, generic_sensor(model.bands), sensor)


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
        names, max_seconds=max_seconds, device=device, workers=workers, progress=shown,
        on_epoch=None if shown else lambda name, history: print_epoch(history, name),
    )  # fmt: skip
    if stopped:
        print(f"stopped by {stopped}; the same command goes on")
    return {"SIGINT": 130, "SIGTERM": 143}.get(stopped, 0)
