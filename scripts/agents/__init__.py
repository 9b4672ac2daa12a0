"""Coding agents that `mlx-edge launch` starts: how each is pointed at a server, a file each."""
