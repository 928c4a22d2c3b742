"""The system's interface as documents for those who write in other languages.

Made from what the code runs by (contracts, handlers, topology), so that they cannot say anything
else. `messages` lists what travels; `schemas` and `asyncapi` describe it; `files` are the committed
documents; `subset`, `changes` and `httpchanges` judge whether a new version breaks whoever relies
on an old one.
"""
