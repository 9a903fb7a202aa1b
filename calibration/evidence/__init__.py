"""The evidence: gold beside what a version said, measured per slice, told, drawn, and held against a policy."""
