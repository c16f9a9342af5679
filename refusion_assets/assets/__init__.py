"""The work floor: each asset reads, calls the kernel, writes, and reports what it did."""
