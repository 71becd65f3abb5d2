"""What the daemon tells, and the client shows, as types: the API of docs/api.md, which is generated from them.

Both sides import these. A reader ignores keys that it does not know, and a key that came later has a default: so a
client and a daemon of different releases understand each other. None is renamed or removed. Read first: `runs.py`
(status, run, table), then `particles.py` (particle, recommendation), `requests.py` (what a client sends, and the short
answers) and `routes.py` (which request has which); `checked.py`, `local.py` and `models.py` are what
`serviceoptctl --json` adds.
"""
