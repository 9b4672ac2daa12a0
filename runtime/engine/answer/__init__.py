"""Tokens of one row to what its client reads. Plain Python: no array comes in here."""
