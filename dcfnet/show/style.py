"""How each network is drawn, the same in every figure and view."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NetworkStyle", "network_style"]


@dataclass(frozen=True)
class NetworkStyle:
    """Colour, dashes and marker of a network.

    Attributes:
        colour: As CSS and Matplotlib write it.
        dashes: On and off in turn, in widths of the line; nothing for a solid line.
        marker: Matplotlib's.
    """

    colour: str
    dashes: tuple[float, ...]
    marker: str

    @property
    def linestyle(self) -> tuple[float, tuple[float, ...]]:
        """The dashes as Matplotlib takes them."""
        return 0, self.dashes


# Colours of Okabe and Ito, which colour-blind readers tell apart, and dashes for print.
_STYLES = {
    "dcfnet": NetworkStyle("#d55e00", (), "P"),
    "fusionnet": NetworkStyle("#0072b2", (3, 2), "v"),
    "pannet": NetworkStyle("#009e73", (3, 2, 1, 2), "D"),
    "dicnn": NetworkStyle("#cc79a7", (1, 2), "^"),
    "msdcnn": NetworkStyle("#b08600", (1, 2, 3, 2), "s"),
    "pnn": NetworkStyle("#56b4e9", (), "o"),
}


def network_style(network: str) -> NetworkStyle:
    """The style of a network by its name in `dcfnet.networks.NETWORKS`; grey for any other."""
    return _STYLES.get(network, NetworkStyle("#888888", (), "."))
