"""The formula of a Homebrew tap, and what completes it."""
