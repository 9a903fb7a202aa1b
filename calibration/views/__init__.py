"""The pages of calibration: door, query, one verb, answer."""
