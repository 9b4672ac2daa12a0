"""A text worker: templates and tokenizers in a killable process; started, never imported."""
