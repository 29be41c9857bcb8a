"""hookline: image-classification experiments from small configs, run by hooks."""
