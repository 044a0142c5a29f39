"""The built-in plugins, one module each; `registry` lists them."""
