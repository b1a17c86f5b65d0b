"""The manager: names whose certificates are obtained, served and renewed by themselves."""
