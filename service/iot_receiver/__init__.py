"""Receives AWS IoT Core's HTTPS rule action and stores each message as one row in DynamoDB."""

__version__ = "2.0.0"
