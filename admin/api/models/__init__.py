"""What the endpoints answer, field by field: the schemas of the OpenAPI document."""
