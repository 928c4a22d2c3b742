"""What is asked for below `/console`, a module for each thing."""
