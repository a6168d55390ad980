"""The agent on the box: bus, outbox, sealer, sync."""
