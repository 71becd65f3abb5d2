"""Deterministic simulation of the whole daemon: one seed makes one history, with faults, and every promise is checked.

`virtual_time.py`: a clock and an event loop that jump from one due moment to the next. `world.py`: processes, ports,
HTTP and the disk as the daemon sees them. `programs.py`: what the engine and the client in it do. `faults.py`: what goes
wrong, when. `promises.py`: what has to hold after each event and at the end. `history.py`: puts them together; read it
first. The daemon's own code is real from `Daemon.work` down to the calls that start, signal and ask processes.
"""
