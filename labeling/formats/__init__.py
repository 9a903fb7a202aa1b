"""Bytes to typed rows with row errors, and back; one module per format. Pure: no Django."""
