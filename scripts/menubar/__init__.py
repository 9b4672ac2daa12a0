"""`mlx-edge menubar`: the server in the Mac's menu bar, as a client of its HTTP API."""
