"""What computes a network on a CPU: torch, OpenVINO, ONNX Runtime, torch.compile, by turns.

    python -m tests.benchmarks.bench_engines [--size 3340] [--repeats 3] [--threads N]
                                             [--compile] [--json FILE]

First one pass over 256 x 256 pixels. Then a square of the Longmont scene, as a rule all of it, from
files to a file, with the engines of `fuse_files`; beside them stands plain eager float32 over the
same tiles, which are read and interpolated but not written. Seconds are of wall and of processor
time: where other work shares the processor the second is the steadier, with one thread above all,
since threads that wait for one another spend it too. Each pass is run once for nothing.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from dcfnet.fusion.engine import OpenVINO
from dcfnet.fusion.files import fuse_files
from dcfnet.fusion.tiled import fuse_scene
from dcfnet.fusion.tiles import TILE
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.scene import Scene
from dcfnet.networks import PansharpeningNetwork, load_trained
from tests.benchmarks.bench_scene import plainly
from tests.benchmarks.report import by_turns, gains, medians, run
from tests.support.rasters import write_pair

Ways = dict[str, Callable[[], torch.Tensor | None]]
SIDE = 256


def one_pass(model: PansharpeningNetwork, compile: bool, threads: int) -> Ways:
    """The ways to pass 256 x 256 pixels through a network."""
    shapes = ((1, SIDE), (model.bands, SIDE // 4), (model.bands, SIDE))
    images = [torch.rand(1, c, n, n) for c, n in shapes]
    last = [image.contiguous(memory_format=torch.channels_last) for image in images]
    ready = model.fused_for_inference()

    def in_bf16(network: Callable[..., torch.Tensor]) -> Callable[[], torch.Tensor]:
        def run() -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return network(*last)

        return run

    one, short = OpenVINO(model, "fp32"), OpenVINO(model, "bf16")
    session, named = onnx_session(model, images, threads)
    ways: Ways = {
        "plain, eager": lambda: model(*images),
        "torch": lambda: ready(*last),
        "torch, bf16": in_bf16(ready),
        "OpenVINO": lambda: one(*images),
        "OpenVINO, bf16": lambda: short(*images),
        "ONNX Runtime": lambda: torch.from_numpy(session.run(None, named)[0]),
    }
    if compile:
        torch._inductor.config.freezing = True
        compiled = torch.compile(ready)
        ways |= {"compiled": lambda: compiled(*last), "compiled, bf16": in_bf16(compiled)}
    return ways


def onnx_session(
    model: PansharpeningNetwork, images: list[torch.Tensor], threads: int
) -> tuple[onnxruntime.InferenceSession, dict[str, np.ndarray]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        names = ["pan", "ms", "lms"]
        torch.onnx.export(
            model.fused_for_inference(), tuple(images), file.name, input_names=names, dynamo=False
        )
        session = onnxruntime.InferenceSession(file.name, options)
    named = dict(zip(names, (image.numpy() for image in images), strict=True))
    return session, {used.name: named[used.name] for used in session.get_inputs()}


def over_a_scene(model: PansharpeningNetwork, scene: Scene, folder: Path) -> Ways:
    """The ways to fuse a scene; all but the plain one from files to a file."""
    files = write_pair(folder, scene.ms, scene.pan)

    def fused(engine: str, precision: str) -> Callable[[], None]:
        return lambda: fuse_files(
            model, *files, folder / "out.tif", scene.sensor, device="cpu", engine=engine,
            precision=precision, overwrite=True,
        ) and None  # fmt: skip

    return {
        "plain, eager": plainly(model, scene),
        "torch": fused("torch", "fp32"),
        "torch, bf16": fused("torch", "bf16"),
        "OpenVINO": fused("openvino", "fp32"),
        "OpenVINO, bf16": fused("openvino", "bf16"),
    }


def compared(ways: Ways, repeats: int) -> dict:
    """Medians of wall and processor time, and how many times as fast as the plain way each is."""
    found = {}
    for kind, times in zip(("seconds", "processor_seconds"), by_turns(ways, repeats), strict=True):
        found[f"median_{kind}"] = medians(times)
        found[f"ratio_of_{kind}"] = gains(medians(times), "plain, eager")
    return found


def errors(model: PansharpeningNetwork, scene: Scene) -> dict[str, dict[str, float]]:
    """By how many digital numbers, root mean square and at most, results differ from torch's."""
    expected = fuse_scene(model, scene, device="cpu", engine="torch")
    found = {}
    for name, engine, precision in (
        ("torch, bf16", "torch", "bf16"),
        ("OpenVINO", "openvino", "fp32"),
        ("OpenVINO, bf16", "openvino", "bf16"),
    ):
        off = fuse_scene(model, scene, device="cpu", engine=engine, precision=precision) - expected
        found[name] = {
            "rms": float(f"{np.sqrt(np.square(off).mean()):.3g}"),
            "largest": float(f"{np.abs(off).max():.3g}"),
        }
    return found


def of_network(name: str, size: int, repeats: int, compile: bool, threads: int) -> dict:
    """One network."""
    model = load_trained(name).eval().requires_grad_(False)
    side = slice(0, size // 4)
    scene = load_scene("wv3-longmont").crop(side, side)
    with tempfile.TemporaryDirectory() as home, torch.inference_mode():
        passes = one_pass(model, compile, threads)
        expected = passes["plain, eager"]()
        off = {n: float((way().float() - expected).abs().max()) for n, way in passes.items()}
        largest = float(expected.abs().max())
        return {
            "256 x 256": compared(passes, 3 * repeats)
            | {"largest_error_relative": {n: value / largest for n, value in off.items()}},
            "scene": {"size": [*scene.pan.shape]}
            | compared(over_a_scene(model, scene, Path(home)), repeats)
            | {"digital_numbers_off_torch": errors(model, scene.crop(*2 * [slice(0, 224)]))},
        }


def measure(size: int = 3340, repeats: int = 3, threads: int = 0, compile: bool = False) -> dict:
    """Both networks of the book's tables."""
    threads = threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    return {"repeats": repeats, "threads": threads, "tile": TILE} | {
        name: of_network(name, size, repeats, compile, threads) for name in ("dcfnet", "fusionnet")
    }


if __name__ == "__main__":
    run(measure)
