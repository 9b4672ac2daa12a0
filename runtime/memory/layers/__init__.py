"""What the cache of each layer takes, told by config.json before there is a model to look at."""
