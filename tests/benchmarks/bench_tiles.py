"""What tiles do to the result, and what they cost: tile sizes and overlaps against one pass.

    python -m tests.benchmarks.bench_tiles [--network dcfnet] [--json FILE]

At reduced resolution, where the truth is known, the whole Longmont scene (832 x 832 PAN pixels) is
fused in one pass and in tiles. Compared are the pixels at least 64 away from the scene's borders:

- the change: tiled minus one pass, in digital numbers (root mean square);
- the same by how far aligned corners displace branch 2 in the tile against the one pass
  (`displacement`), in steps of half a pixel;
- the error against the truth, beside seams (two pixels on each side) and elsewhere, over the error
  of the one pass at the same pixels.

The cost of a tile size is in pixels: how many the network computes for one that is kept.
"""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from dcfnet.fusion.tiled import fuse_scene
from dcfnet.fusion.tiles import Tile, tiles_along
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.wald import reduce_resolution
from dcfnet.networks import load_trained
from tests.benchmarks.report import run

TILES = (64, 128, 256, 512)
OVERLAPS = (0, 8, 16, 32, 64)
BORDER = 64
STEP = 0.5


def rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt((values.astype(np.float64) ** 2).mean()))


def seams(tiles: list, size: int) -> np.ndarray:
    """Which pixels of an axis lie beside a border between kept parts."""
    beside = np.zeros(size, bool)
    for tile in tiles[1:]:
        beside[4 * tile.keep_start - 2 : 4 * tile.keep_start + 2] = True
    return beside


def displacement(tiles: Sequence[Tile], factor: int = 4) -> np.ndarray:
    """By how much aligned corners displace a branch of DCFNet, along one axis of tiles.

    What goes down by ``factor`` and up again with aligned corners is displaced by ``factor - 1``
    times its position relative to the tile: not at all at its start, by ``factor - 1`` at its end.
    So one and the same ground is displaced differently in tiles of different size or place.

    Args:
        tiles: As `tiles_along` makes them, in MS pixels.
        factor: PAN pixels per pixel of the branch: 4 for branch 2, 2 for branch 1.

    Returns:
        Pixels of displacement at every PAN pixel of the axis.
    """
    parts = []
    for tile in tiles:
        kept = np.arange(4 * tile.kept.start, 4 * tile.kept.stop)
        parts.append((factor - 1) * kept / (4 * (tile.stop - tile.start) - 1))
    return np.concatenate(parts)


def by_displacement(change: np.ndarray, by: np.ndarray) -> list[dict]:
    """Root mean square of the change where the displacement differs by so many pixels."""
    rows = []
    for low in np.arange(0, by.max(), STEP):
        here = (by >= low) & (by < low + STEP)
        if here.sum() >= 1000:
            rows.append({"pixels": round(rms(by[here]), 3), "change": round(rms(change[here]), 3)})
    return rows


def measure(network: str = "dcfnet") -> dict:
    """All tile sizes and overlaps."""
    scene = load_scene("wv3-longmont")
    sample = reduce_resolution(scene)
    coarse = Scene(sample.ms, sample.pan, scene.sensor, np.ones(sample.ms.shape[1:], bool))
    model, size = load_trained(network), sample.pan.shape[0]
    inner = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    one = fuse_scene(model, coarse, tile=size, overlap=0)
    fused_in_one = displacement(tiles_along(size // 4, size // 4, 0))
    at_one = np.sqrt(((one - sample.gt) ** 2).mean(axis=0))[inner]
    rows = []
    for tile, overlap in tqdm([(t, o) for t in TILES for o in OVERLAPS if 4 * o <= t]):
        tiles = tiles_along(size // 4, tile // 4, overlap // 4)
        start = time.perf_counter()
        tiled = fuse_scene(model, coarse, tile=tile, overlap=overlap)
        seconds = time.perf_counter() - start
        change = np.sqrt(((tiled - one) ** 2).mean(axis=0))[inner]
        error = np.sqrt(((tiled - sample.gt) ** 2).mean(axis=0))[inner]
        beside = seams(tiles, size)
        seam = (beside[:, None] | beside)[inner]
        moved = displacement(tiles) - fused_in_one
        by = np.hypot(moved[:, None], moved)[inner]
        rows.append(
            {
                "tile": tile,
                "overlap": overlap,
                "computed_per_kept": round((tile / (tile - 2 * overlap)) ** 2, 2),
                "seconds": round(seconds, 2),
                "change": round(rms(change), 3),
                "error": round(rms(error), 3),
                "seam_error_over_one_pass": round(rms(error[seam]) / rms(at_one[seam]), 4),
                "other_error_over_one_pass": round(rms(error[~seam]) / rms(at_one[~seam]), 4),
                "by_displacement": by_displacement(change, by),
            }
        )
    print(pd.DataFrame(rows).drop(columns="by_displacement").to_string(index=False))
    return {
        "network": network,
        "scene": scene.name,
        "size": size,
        "threads": torch.get_num_threads(),
        "one_pass_error": round(rms(at_one), 3),
        "tiles": rows,
    }


if __name__ == "__main__":
    run(measure)
