"""The keys and values of rows. Only this room calls mlx-lm's cache objects."""
