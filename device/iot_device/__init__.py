"""A device's side of the path: readings go to AWS IoT Core over MQTT 5, each at least once."""
