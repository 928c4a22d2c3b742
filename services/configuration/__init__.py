"""What can be set, by which variable, and what was: read from the settings classes themselves."""
