"""Where numbers and messages go."""
