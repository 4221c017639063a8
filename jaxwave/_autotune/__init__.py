"""What a gradient takes under each storage policy, and which one to choose."""
