"""What the server takes from the engine's speed, and how it stands beside other servers."""
