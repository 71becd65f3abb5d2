"""What people see: the command line client."""
