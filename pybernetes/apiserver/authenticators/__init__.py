"""The ways to tell whose a bearer token is, one a module, and the chain that asks them in upstream's order."""
