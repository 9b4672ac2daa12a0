"""What an answer may say, as one grammar: llguidance's Lark, with JSON Schemas in it."""
