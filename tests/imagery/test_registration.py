"""Known displacements are found again, and undone."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from dcfnet import DataError, load_scene
from dcfnet.imagery.classical import METHODS
from dcfnet.imagery.filters import degrade
from dcfnet.imagery.registration import (
    aligned,
    at_reduced_resolution,
    displacements,
    fuse_aligned,
    moved,
)
from dcfnet.imagery.sensors import WV3
from dcfnet.imagery.simulated import simulate_scene
from dcfnet.imagery.wald import full_resolution, reduce_resolution
from dcfnet.measure.metrics import ergas

BANDS = ("C", "G", "RE", "N")
KNOWN = pd.DataFrame(
    [(0.93, -0.15), (0.0, 0.0), (-0.4, 1.31), (0.27, -0.62)],
    index=list(BANDS),
    columns=["down", "right"],
)
AXES = ["down", "right"]


@pytest.fixture(scope="module")
def town():
    return simulate_scene(size=208, sensor=WV3.select(*BANDS))


def displaced(scene, known, seed=0):
    """The scene as it would be with its bands elsewhere, noise included."""
    exact = degrade(moved(scene.truth, known), scene.sensor)
    noise = np.random.default_rng(seed).standard_normal(exact.shape)
    ms = np.rint(exact + noise * np.sqrt(np.maximum(exact, 0) / 50 + 1))
    return replace(scene, ms=np.clip(ms, 1, 2047).astype(np.uint16))


@pytest.fixture(scope="module")
def elsewhere(town):
    return displaced(town, KNOWN)


def off(found, known=KNOWN):
    return (found[AXES] - known[AXES]).abs().to_numpy().max()


def test_known_displacements_are_found_to_a_twentieth_of_a_pixel(elsewhere):
    found = displacements(elsewhere)
    assert list(found.index) == list(BANDS)
    assert off(found) < 0.05
    assert found["error"].between(0, 0.05).all()


def test_a_scene_without_displacement_has_none(town):
    assert displacements(town)[AXES].abs().to_numpy().max() < 0.05


def test_pan_that_moves_takes_all_bands_with_it(town):
    pan = moved(town.pan[None], pd.DataFrame([(0.4, -0.7)], columns=AXES))[0]
    found = displacements(replace(town, pan=np.rint(pan).astype(np.uint16)))
    assert (found["down"] + 0.4).abs().max() < 0.05 and (found["right"] - 0.7).abs().max() < 0.05


def test_several_ms_pixels_are_found_too(town):
    known = KNOWN.assign(down=[9.3, -5.2, 0.0, 2.4], right=[-6.1, 0.3, 12.2, -2.2])
    assert off(displacements(displaced(town, known)), known) < 0.05


def test_pixels_without_data_do_not_matter(elsewhere):
    mask = elsewhere.mask.copy()
    mask[:20] = mask[90:120, 60:100] = mask[:, 200:] = False
    fine = mask.repeat(4, 0).repeat(4, 1)
    for value in (0, 2047):
        gaps = replace(
            elsewhere,
            ms=np.where(mask, elsewhere.ms, value).astype(np.uint16),
            pan=np.where(fine, elsewhere.pan, value).astype(np.uint16),
            mask=mask,
        )
        assert off(displacements(gaps)) < 0.06


@pytest.mark.slow
@pytest.mark.skipif(find_spec("dgsamples") is None, reason="dgsamples is not installed")
def test_reduced_resolution_shows_a_quarter_of_it():
    """Measured on Longmont at either resolution: two measurements of the same thing."""
    scene, bands = load_scene("wv3-longmont"), ("G", "Y", "R", "RE")
    sensor = scene.sensor.select(*bands)
    scene = replace(scene, ms=scene.ms[[scene.sensor.index(b) for b in bands]], sensor=sensor)
    whole = displacements(scene)
    assert whole.loc[["Y", "RE"], "down"].min() - whole.loc[["G", "R"], "down"].max() > 0.5
    expected, found = at_reduced_resolution(whole), displacements(reduce_resolution(scene))
    assert off(found, expected) < 0.08


def test_alignment_brings_bands_and_pan_together(elsewhere):
    sample = reduce_resolution(elsewhere)
    places = at_reduced_resolution(displacements(elsewhere))
    # A pair that was registered perfectly is found half a pixel beyond the ground's middle.
    assert places.loc["G", AXES].to_numpy() == pytest.approx(-0.125, abs=0.0125)
    for name in ("mtf-glp-fs", "gsa"):
        before = METHODS[name](sample)
        after = fuse_aligned(METHODS[name], sample, places)
        # To go there and back without a reason costs or gains next to nothing.
        moves = moved(moved(before, places), places, back=True)
        errors = [ergas(sample.gt, image) for image in (after, before, moves)]
        assert errors[0] < 0.97 * min(errors[1:])


def test_the_aligned_sample_has_no_displacement_left(elsewhere):
    full = full_resolution(elsewhere)
    onto = aligned(full, displacements(elsewhere))
    assert displacements(onto)[AXES].abs().to_numpy().max() < 0.1  # ms itself is too coarse


def test_moving_there_and_back_changes_smooth_images_little(town):
    lms = METHODS["exp"](reduce_resolution(town))
    back = moved(moved(lms, KNOWN), KNOWN, back=True)
    inner = np.s_[:, 8:-8, 8:-8]
    assert np.abs(back - lms)[inner].max() < 0.02 * lms.max()


def test_pairs_that_say_nothing_are_refused(town):
    with pytest.raises(DataError, match="MS is 64 x 80 pixels: to register.*at least 96 x 96"):
        displacements(town.crop(slice(0, 64), slice(0, 80)))
    with pytest.raises(DataError, match="without data"):
        displacements(replace(town, mask=np.zeros_like(town.mask)))
    flat = replace(town, pan=np.full_like(town.pan, 300))
    with pytest.raises(DataError, match="band C and PAN cannot be registered"):
        displacements(flat)
