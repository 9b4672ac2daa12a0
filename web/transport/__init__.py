"""How bytes leave: events, sockets, and our patches of Hypercorn. Never imports an API."""
