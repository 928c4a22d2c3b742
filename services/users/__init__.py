"""The user service, the issuer: accounts, sessions, tokens."""
