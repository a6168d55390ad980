"""Intervals in, emission lines out. Pure."""
