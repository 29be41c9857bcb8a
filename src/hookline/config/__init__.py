"""From config nodes to objects, and what goes wrong on the way."""
