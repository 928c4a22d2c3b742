"""Carries: connection, topology, publisher, consumer, RPC, inbox, outbox, dead letters.

A service is written with these, each told of in its own docstring:

    contract        what a command, event or request says        Command, Event, Request
    topology        exchanges, queues, bindings as data          WorkQueue, rpc_queue, declare
    broker          the connections of a process                 Broker
    publisher       mandatory, confirmed publishing              Publisher, envelope.Envelope
    consumer        commands: verified, once, in one transaction CommandConsumer, ConsumerParts
    unit_of_work    what a command's handler works with          UnitOfWork
    relay           what was written with its effect, published  OutboxRelay
    events          listening to them, live                      EventSubscriber, EventParts
    rpc             asking and answering, with a deadline        RpcClient, RpcServer, RpcParts
    database        the service's own                            open_database, Database
    tables          what messaging keeps in it                   MessagingTables
    migrations      its schema, from code                        upgrade, run_migrations
    errors          whose fault it is, and what helps

Everything that runs has `run(parts, shutdown)` and `ready`; deadlines are seconds from now.
"""
