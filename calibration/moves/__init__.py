"""What moved: trends that are corrected by labels, and the change between two periods told apart."""
