"""The statistics of agreement: pure functions over tables. No Django, no clock, no global random state."""
