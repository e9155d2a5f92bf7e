"""A network for other bands does what the old one would, had it been given the nearest bands."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from dcfnet import WV3, DataError, build_network
from dcfnet.networks import NETWORKS
from dcfnet.networks.rebanded import rebanded
from tests.support.networks import images


def chosen(*bands, name="other"):
    """WorldView-3 with some of its bands, in this order."""
    return replace(WV3.select(*bands), name=name, title=name)


def trained(name):
    torch.manual_seed(3)
    model = build_network(name, 8, **({"width": 0.1} if name == "dcfnet" else {}))
    for parameter in model.parameters():  # nothing starts at zero, so that all of it is seen
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "pannet"])
def test_four_of_eight_bands(name):
    four = chosen("B", "G", "R", "N")
    # C and B read blue; G and Y green; R and RE red; N and N2 infrared.
    near = [0, 0, 1, 2, 2, 2, 3, 3]
    centres = torch.tensor(four.centres)
    assert [int((centres - c).abs().argmin()) for c in WV3.centres] == near
    old = trained(name)
    new = rebanded(old, WV3, four)
    pan, ms, lms = images(bands=4, batch=2)
    with torch.no_grad():
        expected = old(pan, ms[:, near], lms[:, near])[:, [WV3.index(b) for b in "BGRN"]]
        assert_close(new(pan, ms, lms), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_another_order_of_the_same_bands(name):
    order = ["N2", "R", "C", "N", "G", "B", "RE", "Y"]
    at = [WV3.index(band) for band in order]
    back = [order.index(band) for band in WV3.bands]
    old = trained(name)
    new = rebanded(old, WV3, chosen(*order))
    pan, ms, lms = images()
    with torch.no_grad():
        expected = old(pan, ms[:, back], lms[:, back])[:, at]
        assert_close(new(pan, ms, lms), expected, rtol=1e-4, atol=1e-4)


def test_pannet_takes_four_bands():
    new = rebanded(trained("pannet"), WV3, chosen("B", "G", "R", "N"))
    assert new(*images(bands=4)).shape[1] == 4


def test_the_sensor_must_be_the_networks():
    with pytest.raises(DataError, match="for 8 bands, other has 4"):
        rebanded(trained("pnn"), chosen("B", "G", "R", "N"), WV3)
