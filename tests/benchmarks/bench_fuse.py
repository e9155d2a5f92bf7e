"""How much faster tiles are fused than by the plain network.

    python -m tests.benchmarks.bench_fuse [--size 832] [--repeats 5] [--json FILE]

Both sides fuse the same tiles of the same part of the scene, one after the other in every repeat:
`fuse_scene`, and the plain eager float32 forward pass. Both read and interpolate.
"""

import statistics
import time

import torch
from tqdm import tqdm

from dcfnet.fusion.tiled import fuse_scene, plan_tiles, read_tile
from dcfnet.fusion.tiles import OVERLAP, TILE
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.source import SceneSource
from dcfnet.networks import load_trained
from tests.benchmarks.report import parser, report


def measure(size: int = 832, repeats: int = 5) -> dict:
    """Median and fastest seconds of both, over a square of the scene."""
    side = slice(0, size // 4)
    scene = load_scene().crop(side, side)
    model = load_trained("dcfnet")
    plain = load_trained("dcfnet").eval()
    source = SceneSource(scene)
    rows, cols = plan_tiles(source, TILE, OVERLAP)

    def plainly() -> None:
        with torch.no_grad():
            for row in rows:
                for col in cols:
                    ms, lms, pan, _ = read_tile(source, row, col)
                    tensors = (torch.tensor(x / 2047).float() for x in (pan[None], ms, lms))
                    plain(*(x[None] for x in tensors))

    ways = {
        "plain, eager": plainly,
        "fuse_scene": lambda: fuse_scene(model, scene, device="cpu"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in tqdm(range(repeats), desc="repeats", leave=False):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    fastest = {name: min(times) for name, times in seconds.items()}
    return {
        "network": "dcfnet",
        "size": list(scene.pan.shape),
        "tiles": len(rows) * len(cols),
        "tile": TILE,
        "overlap": OVERLAP,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "median_seconds": {name: round(value, 3) for name, value in medians.items()},
        "fastest_seconds": {name: round(value, 3) for name, value in fastest.items()},
        "ratio_of_medians": round(medians["plain, eager"] / medians["fuse_scene"], 2),
        "ratio_of_fastest": round(fastest["plain, eager"] / fastest["fuse_scene"], 2),
    }


def main() -> None:
    made = parser(__doc__, repeats=5)
    made.add_argument("--size", type=int, default=832, help="side of the square in PAN pixels")
    arguments = made.parse_args()
    result = measure(arguments.size, arguments.repeats)
    print(f"DCFNet, {result['tiles']} tiles of {TILE}, {result['threads']} CPU threads\n")
    print(f"{'':<16}{'median':>10}{'fastest':>10}  seconds")
    for name, median in result["median_seconds"].items():
        print(f"{name:<16}{median:>10.2f}{result['fastest_seconds'][name]:>10.2f}")
    print(f"{'ratio':<16}{result['ratio_of_medians']:>10.2f}{result['ratio_of_fastest']:>10.2f}")
    report(result, arguments.json)


if __name__ == "__main__":
    main()
