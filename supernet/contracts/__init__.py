"""What every addition must keep to, as tests that any package can run on its own."""
