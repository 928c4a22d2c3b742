"""The console's page: what a browser loads, as it is."""
