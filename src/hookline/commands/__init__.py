"""One file for each command: from Hydra's job to an exit status."""
