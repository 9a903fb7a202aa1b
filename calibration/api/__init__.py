"""The HTTP API of calibration: door, serializer, one verb, answer."""
