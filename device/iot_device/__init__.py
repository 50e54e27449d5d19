"""Publishes a device's readings to AWS IoT Core over MQTT 5, each at least once."""
