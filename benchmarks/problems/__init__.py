"""The problems that search strategies are compared on."""
