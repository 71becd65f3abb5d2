"""Reading profiles: recorded steps and loads, windows from a journal, and the predecessor's tables.

Only reads; gives `simulation.step_times` its columns.
Read first: `reading.py`.
"""
