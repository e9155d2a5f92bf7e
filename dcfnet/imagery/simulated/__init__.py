"""A made-up scene whose true image is known."""

from dcfnet.imagery.simulated.camera import simulate_scene

__all__ = ["simulate_scene"]
