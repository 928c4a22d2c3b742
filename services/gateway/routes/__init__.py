"""The gateway's HTTP routes, a module for each resource."""
