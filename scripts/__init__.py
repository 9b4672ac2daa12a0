"""What a person runs: the mlx-edge command, and the training of Pocket."""
