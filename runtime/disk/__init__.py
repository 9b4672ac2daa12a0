"""What prompts left behind, on disk: encrypted files of one home, for all its models together."""
