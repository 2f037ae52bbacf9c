"""The calculus: every op, its value and its vjp side by side."""
