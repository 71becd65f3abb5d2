"""One file a command: arguments, one call, one rendering. Imported when it is called, and not before.

May import everything of the client. Read first: `best.py`, the plainest.
"""
