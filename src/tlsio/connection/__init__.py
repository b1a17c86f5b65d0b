"""Floor 3: live connections, and the contexts they are made from. Knows no HTTP."""
