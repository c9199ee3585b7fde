"""The programs the harness starts: one driver per implementation, and the task module both sides load."""
