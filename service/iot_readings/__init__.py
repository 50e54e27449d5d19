"""Readings to look at: an API, a page and a command line over the table that the receiver writes."""
