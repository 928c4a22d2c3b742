"""The page: static files, served as they are. They need no build, and nothing from elsewhere."""
