"""The job process: other formats to MLX folders. It is started, never imported."""
