"""Models of a service: what it would do, without one."""
