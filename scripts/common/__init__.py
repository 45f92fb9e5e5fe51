"""What `scripts/bench` and `scripts/soak` have in common."""
