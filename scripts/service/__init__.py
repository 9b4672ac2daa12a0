"""`mlx-edge service`: the server, run by launchd or by systemd."""
