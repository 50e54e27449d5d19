"""The load balancers' traffic: HAProxy follows what the emulated ELBv2 and Route 53 hold.

The emulator keeps load balancers, listeners, rules, target groups and targets, but moves no byte.
This program reads them as any AWS client would, and makes HAProxy do what an Application Load
Balancer with that state does.
"""
