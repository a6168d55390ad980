"""What anyone can run to see the promises kept: ``make prove``. Outside the house, like ``benchmarks``."""
