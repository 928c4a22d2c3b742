"""What operators do, by command or in the console, and the desk from which they ask for it."""
