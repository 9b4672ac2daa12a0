"""How bytes leave: events, sockets, and what Hypercorn has no switch for. Knows no API."""
