"""`mlx-edge doctor --privacy`: whether what is private stays here, checked and not believed."""
