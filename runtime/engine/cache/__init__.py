"""The keys and values of rows. Only this room imports mlx-lm's caches."""
