"""Downloads: resumable, bounded, verified; from private addresses only where that is allowed."""
