"""The main job, shown: a client of the HTTP API, five forgeries, and the story that they tell."""
