"""What can be learnt of a run without training it, or of a model after it."""
