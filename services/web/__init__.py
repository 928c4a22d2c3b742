"""What every service over HTTP has: problem documents, limits at its edge, files of a page."""
