"""Decides: keys, key sets, tokens, seals, the verifier, revocation, passwords.

No network, no clock of its own: every function that depends on time takes `now`,
seconds since the epoch (NumericDate, RFC 7519 §2).
"""
