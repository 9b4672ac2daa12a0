"""A text worker: templates and tokenizers in a process that can be killed; never imported."""
