"""ValidatingAdmissionPolicy: what its type check found, in its status."""
