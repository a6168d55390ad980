"""Where the figures in the README come from. ``python -m benchmarks`` prints them all; a name prints one."""
