"""Sweeps: jobs and their states, the pool of processes that runs them, and what is shown of them."""
