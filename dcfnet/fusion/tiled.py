"""A network over the tiles of a scene of any size: digital numbers in, digital numbers out.

Every pixel of the result comes from one tile: the margin of a tile, where the network lacks
surroundings and where bilinear upsampling with aligned corners has shifted its coarse branches, is
discarded.
"""

import contextlib
import copy
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from dcfnet.errors import unknown
from dcfnet.fusion.engine import OpenVINO, engine_for
from dcfnet.fusion.tiles import OVERLAP, TILE, Tile, tiles_along
from dcfnet.imagery.filters import exp_upsample, filled
from dcfnet.imagery.regions import Window
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.source import SceneSource, Source
from dcfnet.imagery.tensors import as_digital_numbers, as_tensor
from dcfnet.networks import PansharpeningNetwork

Fused = Generator[tuple[Tile, Tile, np.ndarray, np.ndarray], None, None]
"""Row by row the tiles' kept parts: row, column, fused (C, h, w), mask (h, w)."""

# MS pixels around a tile that the 23-tap interpolation of the tile looks at: 11 samples of the
# half-way grid and 11 of the fine one are 5.5 + 2.75 MS pixels.
_FILTER_MARGIN = 9


def read_tile(source: Source, rows: Tile, cols: Tile) -> tuple[np.ndarray, ...]:
    """MS, its interpolation, PAN and the mask of a tile."""
    place = Window(slice(rows.start, rows.stop), slice(cols.start, cols.stop))
    return read_window(source, place)


def read_window(source: Source, place: Window, margin: int = 0) -> tuple[np.ndarray, ...]:
    """MS, its interpolation, PAN and the mask of a window, and of so many MS pixels around it.

    Pixels without data are filled. The scene ends with its border pixels repeated, where
    `exp_upsample` would go round. Shapes are (C, h, w), (C, ratio h, ratio w), (ratio h, ratio w)
    and the same.
    """
    r, m = source.sensor.ratio, _FILTER_MARGIN
    ms, mask = _with_margin(source.read_ms, place, source.shape, margin + m)
    pan, pan_mask = _with_margin(source.read_pan, place, source.shape, margin, r)
    lms = exp_upsample(ms, r)[:, r * m : -r * m, r * m : -r * m]
    mask = mask[m:-m, m:-m].repeat(r, 0).repeat(r, 1) & pan_mask
    return ms[:, m:-m, m:-m], lms, pan, mask


def _with_margin(
    read: Callable[[slice, slice], tuple[np.ndarray, np.ndarray]],
    place: Window,
    shape: tuple[int, int],
    margin: int,
    scale: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask around a window of MS pixels, beyond the scene its border repeated."""
    wide, inner = place.within(margin, shape)
    image, mask = read(*wide)
    pad = [
        (scale * (margin - own.start), scale * (margin + own.stop) - size)
        for own, size in zip(inner, mask.shape, strict=True)
    ]
    around = [(0, 0)] * (image.ndim - 2) + pad
    return np.pad(filled(image, mask), around, mode="edge"), np.pad(mask, pad, mode="edge")


class _Runner:
    """A network made ready on one device: a batch of tiles in, digital numbers out."""

    model: Callable[..., torch.Tensor]

    def __init__(
        self, model: nn.Module, sensor: Sensor, device: torch.device, precision: str, engine: str
    ) -> None:
        self.device, self.precision, self.sensor = device, precision, sensor
        self.layout = torch.contiguous_format if engine == "openvino" else torch.channels_last
        if not isinstance(model, PansharpeningNetwork):
            self.model = copy.deepcopy(model).eval().requires_grad_(False).to(device)
        elif engine == "openvino":
            self.model = OpenVINO(model, precision)
        else:
            self.model = model.fused_for_inference().to(device)

    def __call__(self, ms: np.ndarray, lms: np.ndarray, pan: np.ndarray) -> np.ndarray:
        inputs = (
            as_tensor(image, self.sensor, self.device).contiguous(memory_format=self.layout)
            for image in (pan[:, None], ms, lms)
        )
        cast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(), cast:
            fused = self.model(*inputs)
        return as_digital_numbers(fused, self.sensor)


def find_devices(
    model: PansharpeningNetwork, asked: str | Sequence[str] | None
) -> list[torch.device]:
    """Where tiles are fused. Unless asked: where the network is, else all GPUs, else the CPU."""
    own = next(model.parameters()).device
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if asked is None:
        return [own] if own.type != "cpu" else [torch.device(name) for name in gpus or ["cpu"]]
    found = []
    for name in [asked] if isinstance(asked, str) else asked:
        try:
            found.append(torch.device(name))
            torch.empty(0, device=found[-1]).cpu()
        except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts that it has
            raise ValueError(unknown("device", name, ["cpu", *gpus])) from error
    if not found:
        raise ValueError("no device to compute on: pass at least one, or None")
    return found


class Workers:
    """A network on one device or several, which share the tiles."""

    def __init__(
        self,
        model: PansharpeningNetwork,
        sensor: Sensor,
        device: str | Sequence[str] | None,
        precision: str,
        engine: str | None,
        tiles: int,
    ) -> None:
        if precision not in ("fp32", "bf16"):
            raise ValueError(unknown("precision", precision, ("fp32", "bf16")))
        devices = find_devices(model, device)
        self.kinds = sorted({device.type for device in devices})
        self.batch = 1 if self.kinds == ["cpu"] else 8
        self.number = len(devices)
        engines = [engine_for(model, where, engine, tiles) for where in devices]
        self.engine = " and ".join(sorted(set(engines)))
        self._free: Queue[_Runner] = Queue()
        for where, chosen in zip(devices, engines, strict=True):
            self._free.put(_Runner(model, sensor, where, precision, chosen))

    def _fuse(self, parts: list[tuple[np.ndarray, ...]]) -> np.ndarray:
        if not any(mask.any() for *_, mask in parts):  # nothing but no data
            return np.zeros((len(parts), *parts[0][1].shape), np.float32)
        runner = self._free.get()
        try:
            return runner(*(np.stack([part[i] for part in parts]) for i in range(3)))
        finally:
            self._free.put(runner)

    def fused(self, source: Source, rows: list[Tile], cols: list[Tile]) -> Fused:
        """The tiles, one after the other. While the devices work, the next ones are read."""
        r = source.sensor.ratio
        places = itertools.product(rows, cols)
        waiting: deque[tuple[list[tuple[Tile, Tile]], list[np.ndarray], Future[np.ndarray]]]
        waiting = deque()

        def first() -> Iterator[tuple[Tile, Tile, np.ndarray, np.ndarray]]:
            chosen, masks, work = waiting.popleft()
            for (row, col), image, mask in zip(chosen, work.result(), masks, strict=True):
                kept = tuple(slice(r * k.start, r * k.stop) for k in (row.kept, col.kept))
                yield row, col, image[:, *kept], mask[kept]

        with ThreadPoolExecutor(self.number) as pool:
            try:
                while chosen := list(itertools.islice(places, self.batch)):
                    parts = [read_tile(source, *place) for place in chosen]
                    masks = [mask for *_, mask in parts]
                    waiting.append((chosen, masks, pool.submit(self._fuse, parts)))
                    if len(waiting) > self.number:
                        yield from first()
                while waiting:
                    yield from first()
            finally:
                for *_, work in waiting:
                    work.cancel()


def plan_tiles(source: Source, tile: int, overlap: int) -> tuple[list[Tile], list[Tile]]:
    """Rows and columns of tiles, in MS pixels, from a side and an overlap in PAN pixels."""
    r = source.sensor.ratio
    if tile % r or overlap % r:
        raise ValueError(
            f"tile and overlap are multiples of {r} PAN pixels, got {tile} and {overlap}"
        )
    rows, cols = (tiles_along(size, tile // r, overlap // r) for size in source.shape)
    return rows, cols


def fuse_scene(
    model: PansharpeningNetwork,
    scene: Scene,
    *,
    tile: int = TILE,
    overlap: int = OVERLAP,
    device: str | Sequence[str] | None = None,
    precision: str = "fp32",
    engine: str | None = None,
    progress: bool = False,
) -> np.ndarray:
    """The fused image of a scene at PAN's resolution, tile by tile.

    The network works on a copy made for inference; the given one stays as it is. Only the result
    grows with the scene. MS is interpolated for each tile with enough ground around it that tiles
    agree with `dcfnet.imagery.filters.exp_upsample` of the whole, except at the scene's borders,
    which are continued by their pixels where that function goes round.

    Args:
        model: Any network of this package, with as many bands as the scene.
        scene: MS and PAN.
        tile: Side of a tile in PAN pixels, a multiple of the sensor's ratio.
        overlap: PAN pixels discarded along every side of a tile that has a neighbour, likewise.
        device: ``"cpu"``, ``"cuda:0"``, or several, which share the tiles. By default where the
            network is, and if that is the CPU, all GPUs that there are.
        precision: ``"fp32"``, or ``"bf16"`` for automatic mixed precision.
        engine: ``"torch"`` or ``"openvino"``. By default OpenVINO on a CPU, where it is installed
            (``pip install 'dcfnet[fast]'``) and the scene has some tiles; else torch.
        progress: Show a bar.

    Returns:
        (C, H, W) float32 in digital numbers, neither rounded nor clipped; 0 where there is no
        data.

    Raises:
        ValueError: Tile and overlap do not fit each other, or there is no such device or engine.

    Example:
        >>> model = build_network("dcfnet")                     # doctest: +SKIP
        >>> fuse_scene(model, load_scene("simulated")).shape    # doctest: +SKIP
        (8, 1664, 1664)
    """
    source = SceneSource(scene)
    rows, cols = plan_tiles(source, tile, overlap)
    workers = Workers(model, scene.sensor, device, precision, engine, len(rows) * len(cols))
    r = scene.sensor.ratio
    out = np.zeros((scene.sensor.n_bands, *scene.pan.shape), np.float32)
    with (
        tqdm(total=len(rows) * len(cols), unit="tile", disable=not progress) as bar,
        contextlib.closing(workers.fused(source, rows, cols)) as tiles,
    ):
        for row, col, image, mask in tiles:
            y = slice(r * row.keep_start, r * row.keep_stop)
            x = slice(r * col.keep_start, r * col.keep_stop)
            np.multiply(image, mask, out=out[:, y, x])
            bar.update()
    return out
