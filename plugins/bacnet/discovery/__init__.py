"""Finding devices: who is there, what each has, who has whose number, and the ways to other subnets."""
