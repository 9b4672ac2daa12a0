"""Sleep and wake: a clock for what is idle or late, and a machine that stays awake at work."""
