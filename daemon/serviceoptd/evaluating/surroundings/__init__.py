"""What surrounds an attempt: room on disks, descriptors, memory. What fails for want of them says nothing of the parameters.

Read first: `lacks.py` (which errors pass when there is enough again), then `room.py` and `watching.py`.
"""
