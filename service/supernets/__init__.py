"""Super-networks: uploading, registering and reading them."""
