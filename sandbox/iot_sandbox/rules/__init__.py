"""AWS IoT Core's rules engine: takes what devices publish and runs the rules stored through the IoT API."""
