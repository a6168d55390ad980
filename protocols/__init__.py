"""Bytes and their meaning. Pure; imports nothing of ours."""
