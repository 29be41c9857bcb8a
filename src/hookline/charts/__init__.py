"""Pictures of numbers. Nothing here knows where the numbers come from."""

# Of a curve: these take about a quarter of a minute, and half a gigabyte.
MOST_POINTS = 10_000_000
