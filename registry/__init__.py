"""Models on disk: named, described, and found again."""
