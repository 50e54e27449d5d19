"""Sends readings through the whole path and compares the table's rows with what was sent."""
