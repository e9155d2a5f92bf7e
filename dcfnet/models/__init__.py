"""The networks: one signature, ``fused = model(pan, ms, lms)``."""
