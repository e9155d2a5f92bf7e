"""Your own pair: what the page makes of two files, and says of them, is what the command does."""

import base64
import json

import numpy as np
import pytest
import rasterio
from affine import Affine

import dcfnet
from dcfnet.errors import DataError
from dcfnet.fusion.files import fuse_files
from dcfnet.imagery.geotiff import Pair
from dcfnet.imagery.scene import open_scene
from dcfnet.show.live import own_pair
from tests.support.pages import click, shown, usable, wait_until

NORTH_UP = Affine(2.0, 0, 482000, 0, -2.0, 4440000)
H, W = 40, 48


def write(path, image, affine=NORTH_UP, crs="EPSG:32613", **more):
    georeferenced = {"transform": affine, "crs": crs} if affine else {}
    bands, height, width = image.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=bands,
        dtype=image.dtype, **georeferenced, **more,
    ) as file:  # fmt: skip
        file.write(image)


def scene(rows=H, cols=W):
    found = dcfnet.load_scene("simulated").crop(slice(100, 100 + rows), slice(60, 60 + cols))
    return found.ms.copy(), found.pan[None].copy()


def fine(affine):
    return affine @ Affine.scale(1 / 4)


def pairs():
    """By what is wrong: arguments to write MS and PAN with."""
    ms, pan = scene()
    bright, floats = ms.copy(), ms.astype(np.float32)
    bright[3, 7, 9] = 4000
    floats[2, 5, 6] += 0.3
    good = dict(image=ms, affine=NORTH_UP), dict(image=pan, affine=fine(NORTH_UP))
    with_ms = lambda **more: ({**good[0], **more}, good[1])  # noqa: E731
    with_pan = lambda **more: (good[0], {**good[1], **more})  # noqa: E731
    rotated = Affine(2.0, 0.3, 482000, 0.3, -2.0, 4440000)
    return {
        "bands": with_ms(image=ms[:4]),
        "a ninth band": with_ms(image=np.concatenate([ms, ms[:1]])),
        "swapped": (good[1], good[0]),
        "beyond the sensor": with_ms(image=bright),
        "fractions": with_ms(image=floats),
        "too short": with_ms(image=(ms // 16).astype(np.int16) * -1),
        "another system": with_pan(crs="EPSG:32614"),
        "no system": with_ms(crs=None),
        "one is nowhere": with_pan(affine=None),
        "both nowhere, sizes": ({**good[0], "affine": None}, dict(image=pan[:, :-4], affine=None)),
        "half a pixel off": with_pan(affine=fine(NORTH_UP @ Affine.translation(0.125, 0))),
        "another ratio": with_pan(affine=NORTH_UP @ Affine.scale(1 / 3)),
        "another ratio, rotated": ({**good[0], "affine": rotated}, good[1]),
        "elsewhere": with_pan(affine=fine(NORTH_UP @ Affine.translation(1000, 0))),
        "nothing there": with_pan(image=0 * pan),
    }


def in_page(page, ms, pan, then):
    """Opens two files in the page; `then` makes of the pair what Python can have."""
    files = [
        f"new File([Uint8Array.from(atob('{base64.b64encode(path.read_bytes()).decode()}'),"
        f" (c) => c.charCodeAt(0))], {path.name!r})"
        for path in (ms, pan)
    ]
    sensor = json.dumps(own_pair(dcfnet.WV3).data["sensor"])
    return page.evaluate(
        "(async () => { if (!window.GeoTIFF) await dcfnetLive.script('live/geotiff.js');"
        f" try {{ const pair = await dcfnetPages.openPair({files[0]}, {files[1]}, {sensor});"
        f" return ({then})(pair); }} catch (error) {{ return error.message; }} }})()"
    )


def test_a_wrong_pair_gets_the_command_s_sentence(opened_in, tmp_path, monkeypatch):
    page = opened_in("chromium", own_pair(dcfnet.WV3).html())
    assert page.evaluate("engine().length") == 0
    monkeypatch.chdir(tmp_path)  # a page knows the names of files, not where they lie
    for wrong, (ms, pan) in pairs().items():
        for name, content in (("ms.tif", ms), ("pan.tif", pan)):
            write(tmp_path / name, **content)
        with pytest.raises(DataError) as error:
            open_scene("ms.tif", "pan.tif", dcfnet.WV3)
        said = in_page(page, tmp_path / "ms.tif", tmp_path / "pan.tif", "() => 'no error'")
        assert said == str(error.value), wrong
    (tmp_path / "ms.tif").write_text("no image")
    said = in_page(page, tmp_path / "ms.tif", tmp_path / "pan.tif", "() => 'no error'")
    assert said.startswith("cannot read ms.tif (")
    assert said.endswith("): expected a GeoTIFF")
    assert not page.wrong


@pytest.mark.parametrize("nodata", [None, 7])
def test_a_pair_is_fused_as_by_the_command(nodata, opened_in, models, tmp_path):
    ms, pan = scene(72, 80)
    ms[:, 10:23, 30:37] = nodata or 0  # in the middle, at a border and in a corner
    ms[:, 40:, :5] = nodata or 0
    pan[:, 200:231, 222:299] = 0
    pan[:, :9, :17] = 0
    files = tmp_path / "ms.tif", tmp_path / "pan.tif"
    write(files[0], ms, nodata=nodata, compress="deflate", tiled=True, blockxsize=32, blockysize=32)
    # PAN begins elsewhere: ground that both show is cut out of both.
    begins = fine(NORTH_UP @ Affine.translation(1.25, 2.5))
    write(files[1], pan[:, 10:-8, 5:], begins, compress="lzw", predictor=2)

    page = opened_in("chromium", own_pair(dcfnet.WV3).html())
    assert page.evaluate("engine().length") == 0
    for key, file in zip(("ms", "pan"), files, strict=True):
        page.tab.page.set_input_files(f"[data-file={key}]", file)
    wait_until(page, "piece.dataset.pair")
    with Pair(*files, dcfnet.WV3) as pair:
        rows, cols = (4 * size for size in pair.shape)
    assert f"{rows} × {cols} PAN pixels on common ground" in page.evaluate(
        "document.body.textContent"
    )
    click(page, "[data-network=narrow]")
    wait_until(page, "piece.dataset.fused")
    content = page.evaluate(
        "piece.result().arrayBuffer().then((buffer) => { let text = '';"
        " for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);"
        " return btoa(text); })"
    )
    (tmp_path / "page.tif").write_bytes(base64.b64decode(content))
    fuse_files(models["narrow"], *files, tmp_path / "command.tif", dcfnet.WV3)
    with (
        rasterio.open(tmp_path / "page.tif") as found,
        rasterio.open(tmp_path / "command.tif") as expected,
    ):
        assert found.transform.almost_equals(expected.transform)
        assert found.crs == expected.crs
        assert found.nodata == expected.nodata
        assert found.dtypes == expected.dtypes
        ours, theirs = found.read().astype(int), expected.read().astype(int)
    assert ours.shape == theirs.shape == (8, rows, cols)
    assert np.array_equal(ours == (nodata or 0), theirs == (nodata or 0))
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() < 0.02

    sizes = page.evaluate("[...document.querySelectorAll('canvas')].map((it) => it.width)")
    assert sizes == [64, 256, 256]
    assert page.faults() == []
    assert page.evaluate("document.querySelector('.dcf-main:not([hidden])') !== null")
    assert "Nothing leaves the machine" in page.evaluate("piece.parentNode.ariaLabel")
    assert shown(page, ".dcf-run .dcf-words").startswith("Fused in")
    assert not page.wrong


def test_everybody_can_use_it(opened_in):
    usable(opened_in("chromium", own_pair(dcfnet.WV3).html(), width=390), 390)
