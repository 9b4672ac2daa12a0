"""A child process: the user's pip, which ends when we do."""
