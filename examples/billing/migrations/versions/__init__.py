"""The migrations of the service's database, in their order."""
