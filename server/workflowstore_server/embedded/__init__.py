"""The nats-server that runs beside this process, on the same machine, for nobody else."""
