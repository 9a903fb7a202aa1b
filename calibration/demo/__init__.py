"""The demo workspace: a generated world, loaded through the same verbs as real data."""
