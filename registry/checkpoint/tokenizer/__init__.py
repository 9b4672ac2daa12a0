"""A folder's tokenizer: made of whichever files it has, the same for the text worker and engine."""
