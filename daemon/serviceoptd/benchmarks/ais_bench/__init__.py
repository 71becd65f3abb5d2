"""The benchmark client AISBench. Read first: `client.py`; the load is set in a copy of its file (`model.py`)."""
