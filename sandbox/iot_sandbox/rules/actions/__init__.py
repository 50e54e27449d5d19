"""Actions of rules, compiled from their definitions in the IoT API."""
