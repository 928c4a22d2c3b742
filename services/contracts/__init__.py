"""What the services have in common: the messages they exchange and where these travel."""
