"""The models of the responses: the schemas of the OpenAPI document."""
