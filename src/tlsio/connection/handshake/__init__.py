"""What is asked and decided for one connection."""
