"""Ways to run an implementation: plain processes in virtual environments here; one module per way."""
