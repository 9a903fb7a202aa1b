"""Performance as ratios within one run: against the naive way, a peer library, the bare database."""
