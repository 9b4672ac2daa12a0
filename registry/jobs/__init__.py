"""Long work on models: orders, and the jobs that carry them out, also across restarts."""
