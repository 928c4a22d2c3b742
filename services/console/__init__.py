"""The operators' console: a process of its own, by which they see and do what commands do too.

It keeps nothing. What it shows it asks for: the broker, the user service in the operator's own
name, and each service that it watches.
"""
