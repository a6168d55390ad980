"""Devices: what to ask a meter and what its answer means. Pure."""
