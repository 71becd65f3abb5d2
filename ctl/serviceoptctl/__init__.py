"""What people see: the command line client.

Talks to the daemon over its socket, or reads the journal where none runs. Knows the daemon's front rooms only, and imports
them when a command needs them: `--help` and `status` answer in a blink.
Read first: `program.py` (the list of commands), then `source.py` (where documents come from).
"""
