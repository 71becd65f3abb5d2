"""The way from TOML to a frozen run: everything in a configuration is checked, and every error is shown with its line.

Reads files and the installed plugins' sections; writes nothing. May import what lies below `evaluating`.
Read first: `load.py` (the way in). `positions` finds the line of every key, `schema` and `fields` say what is allowed,
`plugins` finds engines and clients, `sections` validates their tables, `build` makes the settings, `reload` tells what
may change while a run is under way.
"""
