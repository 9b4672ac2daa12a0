"""What every request meets first: who it is from, and how much it may send."""
