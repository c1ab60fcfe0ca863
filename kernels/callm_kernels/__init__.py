"""callm_kernels: the kernels of the device path, and a plain CPU reference of each."""
