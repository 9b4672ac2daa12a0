"""Tokens to text, one by one: what engines tell, and what text workers compare."""
