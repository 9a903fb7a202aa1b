"""Drift: what is watched and against which calibration, the life of a flag, and the loop that resolves one."""
