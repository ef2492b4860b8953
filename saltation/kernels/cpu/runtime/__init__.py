"""How compiled code is made, cached, given memory and spread over threads."""
