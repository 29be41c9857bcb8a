"""What `scripts/chaos.py` kills, a file for each kind."""
