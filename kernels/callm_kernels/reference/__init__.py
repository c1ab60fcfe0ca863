"""Plain references of the kernels: slow, readable, and what every fast form is tested against."""
