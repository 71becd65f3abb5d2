"""The way from a configuration file to a run in the journal: everything is checked before anything is written.

One pipeline on one frozen draft (`draft.py`), each step in its file: reading, surveying, cross_checking, describing,
planning, identity; `machine_checks.py` stops a submission between them. `check` takes the same way and stops before
the last step. May import `evaluating` and what lies below.
Read first: `preparing.py`, then `submission.py`.
"""
