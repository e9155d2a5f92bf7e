"""A network measured on patches with truth, with batch normalisation that fits its weights."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import default_collate

from dcfnet.errors import DataError
from dcfnet.imagery.sensors import WV3, Sensor
from dcfnet.imagery.wald import Sample
from dcfnet.measure import metrics
from dcfnet.networks.base import as_used
from dcfnet.training.batches import Batch, Patches


class _OfBatch(nn.Module):
    """A network that is called with a batch, wherever that is, as ``update_bn`` calls it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch) -> Tensor:
        device = next(self.network.parameters()).device
        return self.network(*(batch[key].to(device) for key in ("pan", "ms", "lms")))


def recompute_norms(model: nn.Module, batches: Iterable[Batch]) -> None:
    """Set the statistics of batch normalisation to those of some training batches, say two dozen.

    During training each batch is normalised by its own statistics, and running averages are kept
    for later. With momentum 0.01 they are means over the last hundred steps, of activations made
    by weights that are gone. After this call they belong to the weights as they are.
    """
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        update_bn(batches, _OfBatch(model))


@torch.no_grad()
def evaluate_network(
    model: nn.Module, data: Patches, *, batch_size: int = 32, full: bool = False
) -> dict[str, float]:
    """Measure a network on patches with truth, on its device, in eval mode and float32.

    The sensor is that of the data, else WorldView-3.

    Returns:
        ``loss``, the mean squared error on [0, 1], and the means over patches of ``sam``
        (degrees), ``ergas`` and ``psnr`` (dB); with ``full`` also ``q2n`` and ``scc``. Patches
        whose truth holds no data count for the loss alone.

    Raises:
        DataError: There are no patches, or they have no truth.
    """
    check_patches(data=data)
    taken_by: Sensor = getattr(data, "sensor", WV3)
    judges, top = metrics.judges(taken_by), taken_by.max_value
    if not full:
        del judges["q2n"], judges["scc"]
    values: dict[str, list[float]] = {"loss": [], **{name: [] for name in judges}}
    for start in range(0, len(data), batch_size):
        end = min(start + batch_size, len(data))
        batch: Batch = default_collate([data[i] for i in range(start, end)])
        with as_used(model):
            images = _OfBatch(model)(batch).cpu().double()
        for gt, fused in zip(batch["gt"].double(), images, strict=True):
            loss = (gt - fused).square().mean().item()
            values["loss"].append(loss)
            if not math.isfinite(loss) or not gt.any():  # nothing to measure on
                continue
            pair = (gt.numpy() * top, fused.numpy() * top)
            for name, judge in judges.items():
                values[name].append(judge(*pair))
    return _means(values)


@torch.no_grad()
def evaluate_without_truth(model: nn.Module, data: Patches) -> dict[str, float]:
    """Measure a network on patches at full resolution, which have no truth, of 32 pixels or more.

    Returns:
        ``d_lambda``, ``d_s`` and ``hqnr``: means over the patches with data.
    """
    sensor: Sensor = getattr(data, "sensor", WV3)
    values: dict[str, list[float]] = {"d_lambda": [], "d_s": [], "hqnr": []}
    for index in range(len(data)):  # such patches are large
        batch: Batch = default_collate([data[index]])
        with as_used(model):
            images = (batch["pan"], batch["ms"], batch["lms"], _OfBatch(model)(batch))
        pan, ms, lms, fused = (i[0].cpu().double().numpy() * sensor.max_value for i in images)
        seen = lms.any(axis=0) & (pan[0] != 0)
        if not seen.any():
            continue
        sample = Sample(None, ms, lms, pan[0], seen, sensor)
        for name, value in metrics.evaluate(sample, fused, masked=True).items():
            values[name].append(value)
    return _means(values)


def _means(values: dict[str, list[float]]) -> dict[str, float]:
    """Over the patches where there is something to measure; the loss, which must be, over all."""
    means = {}
    for name, each in values.items():
        found = [value for value in each if name == "loss" or not math.isnan(value)]
        means[name] = math.fsum(found) / len(found) if found else math.nan
    return means


def check_patches(**sets: Patches) -> None:
    """Require that there are patches, with truth, as `PatchDataset` gives them.

    Raises:
        DataError: A set is empty or lacks an image; the message calls it by the argument's name.
    """
    for name, data in sets.items():
        if not len(data):
            raise DataError(f"{name} holds no patches: expected at least one")
        found = {key: tuple(value.shape) for key, value in data[0].items()}
        wanted = ("pan", "ms", "lms", "gt")
        if missing := [key for key in wanted if key not in found]:
            raise DataError(
                f"a patch of {name} has {', '.join(found)}, but no {', '.join(missing)}: expected "
                f"{', '.join(wanted)}; full-resolution test files have no truth"
            )
        if found["gt"] != found["lms"]:
            raise DataError(
                f"{name}: gt has shape {found['gt']}, lms {found['lms']}: expected one shape"
            )
