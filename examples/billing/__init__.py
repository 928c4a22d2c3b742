"""The service billing: what it takes, does and tells."""
