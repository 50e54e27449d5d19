"""AWS IoT Core's control plane where moto lacks it: destinations, certificates that chain, rules, tags."""
