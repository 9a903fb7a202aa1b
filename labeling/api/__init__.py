"""The HTTP API of labelling: door, serializer, one verb, answer."""
