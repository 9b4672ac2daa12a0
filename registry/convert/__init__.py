"""The job process: what comes in is checked, converted and verified here, apart from the web."""
