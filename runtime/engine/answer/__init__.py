"""From the tokens of one row to the text that its client reads. Plain Python, never arrays."""
