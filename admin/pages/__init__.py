"""The pages: what an operator reads in a browser, rendered here, without a script."""
