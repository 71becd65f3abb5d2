"""What to do next, and doing it: the daemon that tunes a service.

Rooms lie on floors, each importing only those before it: `FLOORS` in tests/test_import_directions.py, docs/design.md.
Read first: `domain/policy.py` (what is due), then `service/loop.py` (doing it).
"""

from serviceoptd.toolkit.earlier_names import offer_earlier_names

__version__ = "0.1.0"

offer_earlier_names()
