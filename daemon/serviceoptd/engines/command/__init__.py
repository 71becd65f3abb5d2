"""Any engine that a command line can start, described in TOML. Read first: `engine.py`; its keys are in `section.py`."""
