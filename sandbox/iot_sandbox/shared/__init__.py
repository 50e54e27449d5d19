"""What several of the sandbox's programs share; it imports none of them."""
