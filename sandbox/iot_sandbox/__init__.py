"""What stands for AWS on one machine: its APIs, IoT Core's rules engine and broker, the load balancer's traffic."""
