"""AWS's control plane: moto's server, extended where the project needs more.

Each module extends one AWS service and names the AWS document whose behaviour it follows.
"""
