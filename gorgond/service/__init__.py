"""What every daemon has in common: life cycle, systemd, metrics, log."""
