"""The wire: requests in, events out."""
