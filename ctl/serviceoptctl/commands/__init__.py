"""One file per command: arguments, one call, one rendering. Imported when called; the list is in `program.py`."""
