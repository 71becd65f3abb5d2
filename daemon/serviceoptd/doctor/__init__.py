"""`serviceoptctl doctor`: is everything here that this configuration needs, and can the systemd unit do the job?

Looks, and tries by effect; changes nothing but the drop-ins that the user asks for. May import what lies below `service`.
Read first: `doctor.py`, then `unit_doctor.py`.
"""
