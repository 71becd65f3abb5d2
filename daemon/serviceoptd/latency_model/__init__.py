"""How long one step of an engine takes: profiling data in, a latency model out. Training needs the extra `simulation`."""
