"""The figures of the README: the gate beside what a user might pick instead. `make bench` runs it all."""
