"""Pictures of numbers. Nothing here knows where the numbers come from."""
