"""What `doctor` looks at, a file for each neighbourhood of the machine."""
