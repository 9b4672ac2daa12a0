"""The job process, which converts and verifies models. It is started, never imported."""
