"""Compiles the sandbox's Kubernetes and its companions from Go modules, beside whatever else is going on.

Only the standard library: it starts before any virtual environment of the sandbox exists.
"""
