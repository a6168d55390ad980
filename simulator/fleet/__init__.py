"""A fleet under faults: gateways with their agents, meters with exact truth, a network, a collector; one loop."""
