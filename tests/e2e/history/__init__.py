"""Never stale, held against a running service: what was asked and changed, when, and what was answered."""
