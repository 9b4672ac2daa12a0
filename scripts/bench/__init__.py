"""`mlx-edge bench`: how much of the engine's speed the server passes on, and how others compare."""
