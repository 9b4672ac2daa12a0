"""Rows (one generation each) that run together: they wait, prefill, decode, and leave."""
