"""AISBench. Read first: `client.py`; the load is set in a copy of its model's file (`model.py`, `files.py`)."""
