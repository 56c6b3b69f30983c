"""What happens between a request and its answer: sockets, server-sent events, refusals, streams."""
