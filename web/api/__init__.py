"""The APIs that clients speak: one file each, and what several of them share."""
