"""What scripts/release is made of."""
