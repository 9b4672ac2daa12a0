"""What this server reached, what it could reach, and which of its processes have a network."""
