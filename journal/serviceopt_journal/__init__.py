"""What happened: event types, the store that keeps them, verification, and read models.

This room knows neither the daemon nor the client, and it is the only one that opens the journal's files.
Read first: `events.py` (the catalogue), then `store.py` (the append) and `verification.py`; `documents/` has the types of
what is told of it all, docs/api.md.
"""
