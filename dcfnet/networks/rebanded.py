"""A trained network for another sensor: its first and last layers, taken over by wavelength."""

import copy

import numpy as np
import torch
from torch import nn

from dcfnet.imagery.sensors import Sensor
from dcfnet.networks.base import PansharpeningNetwork, require_bands
from dcfnet.networks.registry import build_network


def rebanded(model: PansharpeningNetwork, source: Sensor, target: Sensor) -> PansharpeningNetwork:
    """A network for another sensor, which does what the given one would if it could.

    Where the given network reads a band, the new one reads the target's band that is nearest in
    wavelength; where it makes one, the new one makes of the source's bands the nearest. So four
    of eight bands, or bands in another order, start from what was learnt on all: ``new(pan, ms,
    lms)`` is ``old(pan, ms[near], lms[near])[made]``, up to PanNet's first layer, which mixes
    bands before it has read them. `dcfnet.adapt` does the rest.

    Raises:
        DataError: The network is for another number of bands than the source has.
    """
    require_bands(model, source, "the sensor that it was trained for")
    if source.wavelengths == target.wavelengths:
        return copy.deepcopy(model)
    near, made = _nearest(source, target), _nearest(target, source)
    with torch.device("meta"):  # shapes without memory
        wider = build_network(model.name, model.bands + 1, **model.options).state_dict()
    new = build_network(model.name, target.n_bands, **model.options)
    reading = {
        f"{name}.weight": 0 if isinstance(part, nn.ConvTranspose2d) else 1
        for name, part in model.named_modules()
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d))
    }
    order = -1 if model.pan_first else 1
    state = {}
    for name, values in model.state_dict().items():
        for axis, (size, more) in enumerate(zip(values.shape, wider[name].shape, strict=True)):
            if size == more:  # no axis of bands
                continue
            lengths = (model.bands, size - model.bands)[::order]  # of bands, and of PAN if any
            bands, beside = values.movedim(axis, 0).split(lengths)[::order]
            if axis == reading.get(name):
                empty = bands.new_zeros((target.n_bands, *bands.shape[1:]))
                bands = empty.index_add(0, torch.tensor(near), bands)
            else:
                bands = bands[made]
            values = torch.cat((bands, beside)[::order]).movedim(0, axis)
        state[name] = values.contiguous()
    new.load_state_dict(state)
    return new.train(model.training)


def _nearest(of: Sensor, among: Sensor) -> list[int]:
    """For each band of one sensor, which band of another is nearest in wavelength."""
    distance = np.abs(np.subtract.outer(of.centres, among.centres))
    return [int(band) for band in distance.argmin(axis=1)]
