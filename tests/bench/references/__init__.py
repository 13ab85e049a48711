"""What we are measured against: small, whole programs that do the same work, each a process of its own."""
