"""From TOML to a frozen run. `load.py` is the way in; the pages beside it are one step each.

`positions` finds the line of every key, `schema` and `fields` say what is allowed, `plugins` finds engines and clients,
`sections` validates their tables, `build` makes the settings, `reload` tells what may change while a run is under way.
"""
