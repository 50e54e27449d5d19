"""AWS's control plane: moto's server, extended where the project needs more than moto has.

Each module extends one AWS service and names the AWS document whose behaviour it follows.
"""
