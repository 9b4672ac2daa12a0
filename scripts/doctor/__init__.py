"""`mlx-edge doctor`: what this machine is like, what is wrong with it, and what to do about it."""
