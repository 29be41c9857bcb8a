"""The data sets that come with hookline."""
