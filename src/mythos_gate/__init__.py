"""mythos-gate: who may reach a restricted AI capability, decided per request and provable afterwards."""
