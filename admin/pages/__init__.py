"""The HTML pages for operators, rendered on the server without JavaScript."""
