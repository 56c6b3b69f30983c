"""A service over HTTP: the client, keys and fields of a request, streams, replies, refusals.

Of ornb it imports errors and columns alone, but for a reply that shows itself.
"""
