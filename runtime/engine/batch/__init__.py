"""Rows that run together: they wait, have their prompts read, decode, and leave."""
