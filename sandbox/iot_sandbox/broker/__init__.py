"""The MQTT broker's side of AWS IoT Core: which certificate may do what, kept in step with the IoT API."""
