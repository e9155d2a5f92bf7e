"""The commands ``adapt`` and ``fuse``: their flags are their arguments."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from dcfnet.errors import DataError
from dcfnet.fusion.tiles import OVERLAP, TILE
from dcfnet.imagery.command import Flag, TakenBy
from dcfnet.imagery.sensors import Sensor, get_sensor
from dcfnet.training.command import NetworkName, exclusive, load_network

if TYPE_CHECKING:
    import pandas as pd

    from dcfnet.fusion.archive import Job
    from dcfnet.fusion.below import Below
    from dcfnet.imagery.geotiff import Pair
    from dcfnet.imagery.source import Source
    from dcfnet.networks import PansharpeningNetwork

MethodName = Literal["exp", "mtf-glp-fs", "bt-h", "gsa", "bdsd-pc", "awlp"]
"""The keys of `dcfnet.imagery.classical.METHODS`, which takes torch to import."""

OF_HOW = Parameter(group=exclusive("How"))
ARCHIVE = Parameter(group=Group("Many scenes", sort_key=9))


@dataclass(frozen=True)
class Chosen:
    """A network.

    Args:
        network: One of the book's trained networks; by default dcfnet.
        weights: weights.safetensors of your own run, or of adapt.
        released: A released .pth file.
    """

    network: Annotated[NetworkName | None, OF_HOW] = None
    weights: Annotated[Path | None, OF_HOW] = None
    released: Annotated[Path | None, OF_HOW] = None

    def load(self, sensor: Sensor) -> PansharpeningNetwork:
        """The network, for the bands of a sensor."""
        return load_network(self.network, self.weights, self.released, sensor)


@dataclass(frozen=True)
class ChosenOrMethod(Chosen):
    """A network, or a method without learning.

    Args:
        method: Fuse without learning, with statistics of the whole scene.
    """

    method: Annotated[MethodName | None, OF_HOW] = None


def adapt(
    folder: Path,
    /,
    *,
    ms: str,
    pan: str,
    sensor: TakenBy,
    chosen: Annotated[Chosen, Parameter(name="*")] = Chosen(),
    minutes: float | None = None,
    seed: int = 0,
    align: Flag = False,
    resample: Flag = False,
) -> int:
    """Fit a network to a scene, and keep it where that helps.

    The network learns one scale down, where MS is the truth, on patches from all over the scene. A
    fifth of the ground is held back: there the better of before and after is chosen. Two cores
    take about a minute for DCFNet, seconds for the others. After an interruption the same command
    goes on.

    Args:
        folder: Where weights.safetensors, history.csv and the records go.
        ms: GeoTIFF of the sensor's bands, or what else GDAL reads.
        pan: GeoTIFF of one band, likewise.
        sensor: What took the images; its help names all.
        chosen: What to begin with.
        minutes: Train for about so long.
        seed: Of the patches and their order.
        align: Move each band onto PAN first.
        resample: Resample MS if it is off PAN's grid by a fraction of a PAN pixel.
    """
    from dcfnet.fusion.below import below
    from dcfnet.imagery.geotiff import Pair

    taken_by = get_sensor(sensor)
    model = chosen.load(taken_by)
    with Pair(ms, pan, taken_by, resample=resample) as pair:
        blocks = below(_aligned(pair, align)[0], seed=seed, progress=sys.stderr.isatty())
    try:
        _adapted(model, blocks, folder, minutes, seed)
    except KeyboardInterrupt as stop:
        return _goes_on("adapt", stop)
    print(folder / "weights.safetensors")
    return 0


@dataclass(frozen=True)
class Order:
    """What `fuse` is told beside the files.

    Args:
        overwrite: Replace the result if it is there.
        chosen: What fuses.
        adapt: Fit the network to the scene first, as the command adapt does, in OUT-adapted.
        minutes: Adapt for about so long.
        align: Move each band onto PAN, by what the command check measures.
        resample: Resample MS if it is off PAN's grid by a fraction of a PAN pixel.
        quiet: Do not try the network first.
        tile: Side of a tile, in PAN pixels.
        overlap: PAN pixels discarded at each side of a tile.
        device: cpu, cuda:0, or several with commas between, which share the tiles; by default all
            GPUs, else the CPU.
        precision: Of the network's arithmetic.
        engine: What computes; by default openvino on a CPU where it is installed and the scene is
            not small, else torch.
    """

    overwrite: Flag = False
    chosen: Annotated[ChosenOrMethod, Parameter(name="*")] = ChosenOrMethod()
    adapt: Flag = False
    minutes: float | None = None
    align: Flag = False
    resample: Flag = False
    quiet: Flag = False
    tile: int = TILE
    overlap: int = OVERLAP
    device: str | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    engine: Literal["torch", "openvino"] | None = None

    def check(self) -> None:
        """Refuse what does not go together."""
        if self.minutes is not None and not self.adapt:
            raise ValueError("--minutes says how long to adapt: pass --adapt as well")
        if self.chosen.method and self.adapt:
            raise ValueError("a method without learning does not adapt: pass --adapt or --method")

    def carry_out(self, job: Job) -> dict[str, float]:
        """Fuse a scene, or a strip. Returns how what fuses stood one scale down, if it was tried.

        It is tried once: where the strips are joined.
        """
        from dcfnet.fusion.files import fuse_files, require_free
        from dcfnet.fusion.tiled import find_devices, plan_tiles
        from dcfnet.imagery.classical import METHODS, Method
        from dcfnet.imagery.geotiff import Pair

        taken_by, out = get_sensor(job.sensor), Path(job.out)
        devices = self.device.split(",") if self.device else None
        method, table = self.chosen.method, None
        how = METHODS[method] if method else self.chosen.load(taken_by)
        with Pair(job.ms, job.pan, taken_by, resample=self.resample) as pair:
            require_free(out, pair, self.overwrite)
            source, places = _aligned(pair, self.align)
            plan_tiles(pair, self.tile, self.overlap)
            if not isinstance(how, Method):
                find_devices(how, devices)
                how, table = self._ready(how, source, out, self.quiet or job.strip is not None)
        fuse_files(
            how, job.ms, job.pan, out, taken_by, tile=self.tile, overlap=self.overlap,
            device=devices, precision=self.precision, engine=self.engine,
            overwrite=self.overwrite, resample=self.resample, places=places,
            strips=job.strips, strip=job.strip, progress=sys.stderr.isatty(),
        )  # fmt: skip
        cells = {} if table is None else table.stack()
        return {f"{name} {metric}": float(value) for (name, metric), value in cells.items()}

    def _ready(
        self, model: PansharpeningNetwork, source: Source, out: Path, quiet: bool
    ) -> tuple[PansharpeningNetwork, pd.DataFrame | None]:
        """The network to fuse with, adapted or tried before, as was asked for; and how it stood."""
        from dcfnet.fusion.below import below

        if quiet and not self.adapt:
            return model, None
        try:
            blocks = below(source, progress=sys.stderr.isatty())
        except DataError as error:
            if self.adapt:
                raise
            _say(f"{model.title} was not tried on the scene first: {error}")
            return model, None
        if self.adapt:
            folder = out.with_name(f"{out.stem}-adapted")
            return _adapted(model, blocks, folder, self.minutes, quiet=quiet)
        cure = "; pass --adapt, or --method mtf-glp-fs"
        return model, _compare({model.title: model}, blocks, cure)


def fuse(
    out: Path | None = None,
    /,
    *,
    ms: str | None = None,
    pan: str | None = None,
    sensor: TakenBy | None = None,
    order: Annotated[Order, Parameter(name="*")] = Order(),
    list: Annotated[Path | None, ARCHIVE] = None,
    scheduler: Annotated[str | None, ARCHIVE] = None,
    workers: Annotated[int | None, ARCHIVE] = None,
) -> int:
    """Fuse the MS and PAN GeoTIFFs of one place into a GeoTIFF with MS's bands and PAN's pixels.

    Any size: the scene is read, fused and written tile by tile. The result appears when it is
    complete. After an interruption the same command goes on where it stopped.

    Before it begins, it tries the network one scale down, where MS is the truth, on windows of the
    scene, and says how it stands beside methods without learning.

    With a list of scenes it fuses them all, side by side, and reports on each in a CSV file beside
    the list; what goes wrong with one does not stop the others. The same command does the rest.

    Args:
        out: The GeoTIFF to write.
        ms: GeoTIFF, the sensor's bands; or what GDAL reads besides, /vsizip/S.zip/MS.tif or a VRT.
        pan: GeoTIFF, one band; likewise.
        sensor: What took the images; its help names all.
        order: How the result is made.
        list: CSV file of scenes instead of one: columns ms, pan, out and, if they differ, sensor;
            with a column strips a scene is cut into so many, which fuse side by side.
        scheduler: Address of a Dask scheduler whose workers fuse them, tcp://host:8786; by default
            processes of this machine.
        workers: How many processes of this machine; by default one for each core.
    """
    from dcfnet.fusion.archive import Job

    order.check()
    if list is not None:
        if out or ms or pan:
            raise ValueError("--list names the scenes: leave out OUT, --ms and --pan")
        if order.overwrite:
            raise ValueError("--list leaves results alone: remove those that shall be made anew")
        return _fuse_archive(order, list, sensor, scheduler, workers)
    if scheduler or workers:
        raise ValueError("--scheduler and --workers are for many scenes: pass --list as well")
    if out is None or ms is None or pan is None or sensor is None:
        raise ValueError("expected --ms, --pan, --sensor and OUT, or --list")
    try:
        order.carry_out(Job(ms, pan, str(out), sensor))
    except KeyboardInterrupt as stop:
        return _goes_on("fuse", stop)
    print(out)
    return 0


def _fuse_archive(
    order: Order, scenes: Path, sensor: str | None, scheduler: str | None, workers: int | None
) -> int:
    from dcfnet.fusion.archive import fuse_archive, read_jobs

    given = order.chosen
    # For processes in other folders.
    weights, released = (path and path.absolute() for path in (given.weights, given.released))
    order = replace(order, chosen=replace(given, weights=weights, released=released))
    report = scenes.with_name(f"{scenes.stem}-report.csv")
    jobs = read_jobs(scenes, sensor)
    if order.adapt and any(job.strips > 1 for job in jobs):
        raise ValueError(
            "--adapt fits a network to a scene in one piece: run `dcfnet adapt` first and pass "
            "--weights, or leave out the column strips"
        )
    shown = sys.stderr.isatty()
    try:
        table = fuse_archive(
            order.carry_out, jobs, report, scheduler=scheduler, workers=workers, progress=shown
        )
    except KeyboardInterrupt as stop:
        return _goes_on("fuse", stop)
    print(report)
    if missing := int((table["state"] != "fused").sum()):
        _say(f"{missing} of {len(table)} scenes are not fused; {report} says why")
        return 1
    return 0


def _aligned(pair: Pair, asked: bool) -> tuple[Source, pd.DataFrame | None]:
    """The pair, its bands moved if that was asked for, and where they lay."""
    from dcfnet.imagery.registration import PERFECT, displacements
    from dcfnet.imagery.source import AlignedSource

    if not asked:
        return pair, None
    places = displacements(pair)
    off = places - [PERFECT, PERFECT, 0]
    _say(f"PAN pixels by which bands lie off, and are moved:\n{off.round(2).to_string()}")
    return AlignedSource(pair, places), places


def _adapted(
    model: PansharpeningNetwork, blocks: Below, folder: Path, minutes: float | None,
    seed: int = 0, quiet: bool = False,
) -> tuple[PansharpeningNetwork, pd.DataFrame | None]:  # fmt: skip
    """The better of before and after, and how they stood."""
    from dcfnet.fusion.adapt import adapt

    shown = sys.stderr.isatty()
    found = adapt(model, blocks, minutes=minutes, seed=seed, run_dir=folder, progress=shown)
    _say(f"{found}; it took {found.seconds:.0f} s")
    models = {f"{model.title} as it was": model}
    if found.better:
        models[f"{model.title} adapted"] = found.model
    if quiet:
        return found.model, None
    cure = "; pass --minutes for more, or --method mtf-glp-fs"
    return found.model, _compare(models, blocks, cure)


def _compare(
    models: dict[str, PansharpeningNetwork], blocks: Below, cure: str
) -> pd.DataFrame | None:
    """A small table, and where the last network falls behind."""
    from dcfnet.fusion.trial import ahead, tried

    table = tried(models, blocks)
    if not len(table):
        return None
    _say(f"On windows of the scene, one scale down:\n{table.round(3).to_string()}")
    name = list(models)[-1]
    if better := ahead(table, name):
        _say(f"{name} falls behind {' and '.join(better)}, which learnt nothing{cure}")
    return table


def _say(text: str) -> None:
    """Beside the result's name, which alone goes to the output."""
    print(text, file=sys.stderr)


def _goes_on(command: str, stop: KeyboardInterrupt) -> int:
    _say(f"\ndcfnet {command}: stopped; the same command goes on from here")
    return 143 if "SIGTERM" in stop.args else 130
