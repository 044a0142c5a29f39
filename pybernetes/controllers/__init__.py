"""One package a controller: a pure plan, and a loop that watches and applies."""
