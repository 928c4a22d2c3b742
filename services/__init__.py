"""Acts: the user service, the gateway, the order service, and what runs them together."""
