"""What extensions are held to: suites that any package can run on what it brings."""
