"""Carries: connection, topology, publisher, consumer, RPC, inbox, outbox, dead letters."""
