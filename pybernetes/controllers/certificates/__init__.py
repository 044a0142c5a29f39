"""Certificate signing requests: approved where policy allows it, signed, and cleaned up."""
