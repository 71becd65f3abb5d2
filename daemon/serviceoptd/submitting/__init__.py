"""From a configuration file to a run in the journal: everything is checked before anything is written.

`check` walks the same way and stops before the last step. May import `evaluating` and what lies below.
Read first: `preparing.py`, then `submission.py`.
"""
