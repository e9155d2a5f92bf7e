"""Where the patches of a region lie."""

from dcfnet.errors import DataError
from dcfnet.imagery.regions import Split, Window, regions
from dcfnet.imagery.wald import Sample

PATCH = 64
"""Side of a patch on the grid of ``gt``, in pixels."""


def patch_windows(
    sample: Sample, split: Split, *, fold: int = 0, size: int = PATCH
) -> list[Window]:
    """Where the patches of a split lie; those with pixels without data are left out.

    Training patches overlap by half, the others do not. Windows come piece by piece of the split's
    region in that fold (`dcfnet.imagery.regions`), each row by row; none crosses a border.

    Args:
        sample: A whole scene, from `dcfnet.imagery.wald.reduce_resolution`.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        fold: Which division of the scene.
        size: Side of a patch on the grid of ``gt``, a multiple of 4.

    Raises:
        DataError: There is no such split or fold, sizes are no multiples of 4, or no patch fits.
    """
    windows = [
        window
        for window in all_windows(sample.shape, split, fold=fold, size=size)
        if sample.mask[window].all()
    ]
    if not windows:
        raise none_fits(sample.shape, split, fold, size)
    return windows


def all_windows(
    shape: tuple[int, int], split: Split, *, fold: int = 0, size: int = PATCH
) -> list[Window]:
    """Where the patches of a split would lie if there were data everywhere: see `patch_windows`."""
    stride = size // 2 if split == "train" else size
    if size % 4 or stride % 4 or size <= 0:
        raise DataError(f"size {size} and stride {stride} must be multiples of 4")
    pieces = regions(shape, split, fold)
    return [window for piece in pieces for window in piece.squares(size, stride)]


def none_fits(shape: tuple[int, int], split: Split, fold: int, size: int) -> DataError:
    """What to say where a split has no patches."""
    pieces = regions(shape, split, fold)
    widths = " and ".join(str(cols.stop - cols.start) for _, cols in pieces)
    return DataError(
        f"no {size} x {size} patch with data fits into the {split} region of "
        f"{shape[0]} rows and {widths} columns; use a larger scene or a smaller size"
    )
