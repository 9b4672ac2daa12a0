"""The folder of models and their records. A crash leaves either the old model or the new one."""
