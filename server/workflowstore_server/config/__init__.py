"""How a server is told what to do: by flags, environment variables and a file."""
